/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference_main.c: `config_reference > docs/config.md`; see `make docs`.
 */
#include <stdio.h>
#include <unistd.h>

#include "config/config.h"

int main(void)
{
	if (config_write_reference(STDOUT_FILENO) == 0)
		return 0;
	perror("config_reference");
	return 1;
}
