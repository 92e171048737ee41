/* config_names.h: what the enumerated keys are called, each list in the order of its enum; for
 * config_keys.c alone. */
#ifndef UNDINE_CONFIGS_CONFIG_NAMES_H
#define UNDINE_CONFIGS_CONFIG_NAMES_H

#include <stddef.h>

static const char *const names_group[] = {"user", "candidate", "context", NULL};
static const char *const names_pool[] = {"sum", "mean", NULL};
static const char *const names_kinds[] = {"impression", "click", "behavior", "forget", NULL};
static const char *const names_by[] = {"id", "user_item", NULL};
static const char *const names_emit[] = {"click", "deadline", NULL};
static const char *const names_late_click[] = {"drop", "correct", NULL};
static const char *const names_label[] = {"window", "fnw", NULL};
static const char *const names_model[] = {"base", "din", NULL};
static const char *const names_activation[] = {"sigmoid", "relu", "tanh", "prelu", "dice", NULL};
static const char *const names_input[] = {"paper", "official", NULL};
static const char *const names_normalize[] = {"none",   "softmax",        "sqrt_dim",
                                              "length", "scaled_softmax", NULL};
static const char *const names_dice[] = {"batch", "running", "auto", NULL};
static const char *const names_optimizer[] = {"sgd", "adagrad", "adam", "ftrl", NULL};
static const char *const names_decay[] = {"constant", "exponential", "inverse_sqrt", "linear",
                                          NULL};
static const char *const names_regularizer[] = {"none", "mba", "l2", "difacto", NULL};
static const char *const names_form[] = {"once", "count", NULL};
static const char *const names_memory_full[] = {"stop", "evict", NULL};
static const char *const names_is[] = {"present", "missing", "new", "known", NULL};
static const char *const names_counter[] = {"running", "window", "projected", "fixed", NULL};
static const char *const names_gate[] = {"off", "warn", "enforce", NULL};
static const char *const names_precision[] = {"f32", "int16", NULL};
static const char *const names_resume[] = {"command", "calibration", NULL};

#endif
