/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference_main.c: `config_reference > docs/config.md`, see `make docs`; `config_reference man > sluice.yaml.5`.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

int main(int argc, char **argv)
{
	bool manual = argc == 2 && strcmp(argv[1], "man") == 0;

	if (argc > 1 && !manual) {
		fputs("usage: config_reference [man]\n", stderr);
		return 2;
	}
	if ((manual ? config_write_manual : config_write_reference)(STDOUT_FILENO) == 0)
		return 0;
	perror("config_reference");
	return 1;
}
