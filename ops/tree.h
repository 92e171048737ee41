/* tree.h: a directory of ours that goes as a whole. */
#ifndef UNDINE_OPS_TREE_H
#define UNDINE_OPS_TREE_H

/* Remove dir and everything in it; what cannot be removed stays. */
void tree_remove(const char *dir);

#endif
