/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h: the subcommands. Each gets its own name as argv[0] and returns the exit status: 0 done, 1 it failed,
 * 2 it was asked wrongly.
 */
#ifndef SLUICE_CLI_CLI_H
#define SLUICE_CLI_CLI_H

int cli_serve(int argc, char **argv);
int cli_check_config(int argc, char **argv);
int cli_inspect(int argc, char **argv); /* also "reset" */
int cli_links(int argc, char **argv);
int cli_healthcheck(int argc, char **argv);

#endif
