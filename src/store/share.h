/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h: this server's share of the limits, for when the store that all servers share can't be asked.
 *
 * What was taken here is counted in an in-process store under the whole policies; each unit counts as often as there
 * are servers, as every other server is taken to do what this one does. With it counts what the distant store was last
 * known to have admitted, until that has flowed back. So where L is the limit, N the servers, G what the store was last
 * seen to have admitted and o what this server has admitted in its stead within the window, one more passes while
 *
 *   G + N * (o + 1) <= L
 *
 * which is the limit divided by N, rounded down, when G is 0. No limit is divided below one.
 *
 * When the store is back it does not know of o. Until no window reaches back to the outage, each server keeps to its
 * share all the same: a take must pass the rule above, in which o is then also what this server admitted since, before
 * the store is asked. That goes for all keys after the store was away as a whole (share_notice()), and for single keys,
 * which are marked, when it failed to decide these.
 *
 * A token bucket's debts flow back one after the other. Therefore G is put into its state here, once.
 *
 * Any thread.
 */
#ifndef SLUICE_STORE_SHARE_H
#define SLUICE_STORE_SHARE_H

#include "store/failure.h"
#include "store/store.h"

struct share;

/** @return NULL with errno set. */
struct share *share_open(const struct failure_config *config);

/** As failure_store_set_servers(). */
void share_set_servers(struct share *share, uint32_t servers);

/** Decides a take or a peek here. Marks the keys of a take. @return STORE_DONE or a negative errno. */
int share_decide(struct share *share, struct store_op *op);

/** Learns from the distant store's answer to a take. */
void share_learn(struct share *share, const struct store_op *op);

/** Says whether the store is ready, be it for some keys; to be called some times a second. One that was not ready and
 * has not answered for 200 ms is away as a whole. */
void share_notice(struct share *share, bool ready);

/** @return true when a take must pass this server's share before the store is asked. */
bool share_holds(struct share *share, const struct store_op *op);

/** Decides a take here that the store will decide after, and notes in op->failure what a release needs. @return
 * STORE_DONE (op->allowed: it is counted here; else the op is decided), or a negative errno: nothing was taken. */
int share_reserve(struct share *share, struct store_op *op);

/** Gives back what share_reserve() took, as the store did not admit it. */
void share_release(struct share *share, struct store_op *op);

/** Instead of share_release(): what was taken stays taken, as share_decide() would have it.
 *  @param decisions  those of share_reserve(), one a take. */
void share_keep(struct share *share, struct store_op *op, const struct sluice_decision *decisions);

/** Gives back what share_decide() took. @return as store_submit(). */
int share_refund(struct share *share, struct store_op *op);

/** Forgets the keys of the op. @return as store_submit(). */
int share_reset(struct share *share, struct store_op *op);

void share_tend(struct share *share);
void share_stats(struct share *share, struct store_stats *out);
void share_close(struct share *share);

#endif
