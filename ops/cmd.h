/* cmd.h: the subcommands.
 *
 * One file each (ops/cmd_NAME.c) and one line each in the table of main.c.  argv[0] is the
 * command's name; flags are read by args_parse, which also prints the help.  Returns an exit code
 * (ops/args.h). Results go to stdout, one JSON object where a machine may read them; everything
 * else to stderr. */
#ifndef UNDINE_OPS_CMD_H
#define UNDINE_OPS_CMD_H

int cmd_bench(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_mock_broker(int argc, char **argv);
int cmd_produce(int argc, char **argv);
int cmd_rollback(int argc, char **argv);
int cmd_publish(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_score(int argc, char **argv);
int cmd_serve(int argc, char **argv);

#endif
