/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note.h: when a key expires, noted in its own string, so that the server need not be asked at each take.
 *
 * The server keeps expiries in a table of their own: to read one is a lookup as long as that of the key. But a string
 * made for ten entries that holds fewer has bytes that its state does not use. The last four say then until when at
 * least the key lives. They go where the string goes: to replicas, into snapshots.
 *
 * What the last four bytes hold when the state does not use them must be a note, then; 0 is none. The module sees to it
 * after each change, and the script writes no byte more than a state needs. Only an operator who lets a key expire
 * sooner than it should is noticed late: when the note's time is up.
 *
 * Only of sliding-logs of few entries: other states use all of their string.
 */
#ifndef SLUICE_MODULE_NOTE_H
#define SLUICE_MODULE_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the longest string that may have a note: a change of it is sent whole, and the note with it. Longer ones are
 * written in pieces, by the script as well. */
#define NOTE_STRING_MAX 128

/** @param state, len  of a string. Any bytes; NULL with length 0.
 *  @return its note, or 0 when it has none. */
uint32_t note_read(const uint8_t *state, size_t len);

/** @return whether a note says that the key lives at this time, in ms. One that says much more is not believed. */
bool note_covers(uint32_t note, int64_t at_ms);

/** Notes the expiry if the state leaves room for it. To be called after each change of a state.
 *  @param expiry_ms  0: nothing is known. */
void note_write(uint8_t *state, size_t len, int64_t expiry_ms);

#endif
