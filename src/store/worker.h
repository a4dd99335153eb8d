/*
 * store/worker.h - work that blocks or burns: a few threads beside the loop, with a bounded queue.
 *
 * Called by the keyring (password hashes), the keeper (LDAP, SQLite of others) and the courier
 * (Maildirs, explain). run() is called in a thread and touches its job alone; done() is called in
 * the loop's thread afterwards.
 */
#ifndef GAPURA_STORE_WORKER_H
#define GAPURA_STORE_WORKER_H

#include "core/err.h"
#include "net/loop.h"

struct worker;
struct worker_job {
    void (*run)(struct worker_job *, void *thread_state);
    void (*done)(struct worker_job *);
    struct worker_job *next;
};
/* What each thread keeps for itself, e.g. connections; each may be NULL. */
struct worker_thread_ops {
    void *(*open)(void);
    void (*close)(void *state);
};
int worker_create(struct worker **ret, struct loop *, unsigned threads, unsigned max_waiting,
                  const struct worker_thread_ops *ops);
/* Waits for what runs. Each job that did not finish gets drop() instead of done(). */
void worker_free(struct worker *, void (*drop)(struct worker_job *));
int worker_submit(struct worker *, struct worker_job *); /* ERR_LIMIT: the queue is full */

#endif
