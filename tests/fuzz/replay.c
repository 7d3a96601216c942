/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c: runs a fuzz target over every file of a folder, with any compiler.
 *
 * The corpus holds inputs that once reached new code and, above all, every input that once
 * crashed. Leaves out: searching for new ones (make fuzz).
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	long size;

	if (file == NULL)
		return -1;
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	/* Exactly as large as the input, so that a sanitizer sees the first byte read past it. */
	data = malloc(size > 0 ? (size_t)size : 1);
	if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
		fclose(file);
		free(data);
		return -1;
	}
	fclose(file);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long replayed = 0;
	struct dirent *entry;
	DIR *dir;

	if (argc != 2 || (dir = opendir(argv[1])) == NULL) {
		fprintf(stderr, "usage: replay CORPUS-FOLDER\n");
		return 2;
	}
	while ((entry = readdir(dir)) != NULL) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
		if (replay_file(path) != 0) {
			fprintf(stderr, "can't read %s\n", path);
			closedir(dir);
			return 1;
		}
		replayed++;
	}
	closedir(dir);
	printf("%lu inputs replayed\n", replayed);
	return replayed > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
