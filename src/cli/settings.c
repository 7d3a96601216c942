/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/settings.h"

#include <unistd.h>

int settings_load(const struct settings *settings, struct config *config, struct config_error *error)
{
	config_defaults(config);
	if (settings->file != NULL && config_load_file(config, settings->file, error) != 0)
		return -1;
	if (config_load_env(config, environ, error) != 0)
		return -1;
	for (size_t i = 0; i < settings->flags_n; i++) {
		if (config_set_flag(config, settings->flags[i].name, settings->flags[i].value, error) != 0)
			return -1;
	}
	return config_check(config, error);
}
