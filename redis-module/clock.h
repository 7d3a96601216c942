/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h: the time that decisions are made for, which is the server's, and when a key expires. Apart, so that a test
 * may have a clock of its own.
 */
#ifndef SLUICE_MODULE_CLOCK_H
#define SLUICE_MODULE_CLOCK_H

#include <stdint.h>

/** @return now, in us since 1970. */
uint64_t module_now_us(void);

/** @return when the server is to forget a key that decisions need until `at_us`: ms since 1970, not before that time.
 */
int64_t module_expiry_ms(uint64_t at_us);

#endif
