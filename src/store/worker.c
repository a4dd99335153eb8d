/*
 * store/worker.c - a few threads beside the loop, with a bounded queue.
 *
 * Called by keyring, keeper and courier (Maildirs, explain). Never calls a job's done() from a
 * thread.
 */
#include "store/worker.h"

#include <pthread.h>
#include <signal.h>

#define THREADS_MAX 16u

struct queue {
    struct worker_job *first, **last;
};

struct worker {
    struct loop_waker *waker;
    const struct worker_thread_ops *ops;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more;
    struct queue waiting, finished;
    unsigned nwaiting, max_waiting;
    bool ending;
    pthread_t threads[THREADS_MAX];
    unsigned nthreads, wanted;
};

static void
queue_add(struct queue *q, struct worker_job *job)
{
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
}

static struct worker_job *
queue_take(struct queue *q)
{
    struct worker_job *job = q->first;

    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->last = &q->first;
    job->next = NULL;
    return job;
}

static struct worker_job *
next_job(struct worker *w)
{
    struct worker_job *job = NULL;

    pthread_mutex_lock(&w->lock);
    while (!w->ending && !w->waiting.first)
        pthread_cond_wait(&w->more, &w->lock);
    if (!w->ending) {
        job = queue_take(&w->waiting);
        w->nwaiting--;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void *
thread_main(void *ctx)
{
    struct worker *w = ctx;
    void *state = w->ops && w->ops->open ? w->ops->open() : NULL;
    struct worker_job *job;

    while ((job = next_job(w))) {
        job->run(job, state);
        pthread_mutex_lock(&w->lock);
        queue_add(&w->finished, job);
        pthread_mutex_unlock(&w->lock);
        loop_wake(w->waker);
    }
    if (w->ops && w->ops->close)
        w->ops->close(state);
    return NULL;
}

static void
on_wake(void *ctx)
{
    struct worker *w = ctx;
    struct worker_job *job, *next;

    pthread_mutex_lock(&w->lock);
    job = w->finished.first;
    w->finished = (struct queue){.last = &w->finished.first};
    pthread_mutex_unlock(&w->lock);
    for (; job; job = next) {
        next = job->next;
        job->done(job);
    }
}

/* Signals stay with the loop's thread. */
static int
start_thread(struct worker *w)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&w->threads[w->nthreads], NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        w->nthreads++;
    return -r;
}

int
worker_create(struct worker **ret, struct loop *loop, unsigned threads, unsigned max_waiting,
              const struct worker_thread_ops *ops)
{
    struct worker *w = calloc(1, sizeof(*w));
    int r = 0;

    if (!w)
        return ERR_NOMEM;
    w->ops = ops;
    w->max_waiting = max_waiting;
    w->waiting.last = &w->waiting.first;
    w->finished.last = &w->finished.first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->waker = loop_waker_create(loop, on_wake, w);
    if (!w->waker)
        r = ERR_NOMEM;
    w->wanted = MIN(MAX(threads, 1u), THREADS_MAX);
    if (r < 0) {
        worker_free(w, NULL);
        return r;
    }
    *ret = w;
    return 0;
}

/* With the first job, not before: a role enters its sandbox between, and threads that exist then
 * would keep their rights. One that cannot be started is tried again with the next job. */
static int
threads_ready(struct worker *w)
{
    int r = 0;

    while (w->nthreads < w->wanted && r == 0)
        r = start_thread(w);
    return w->nthreads ? 0 : r;
}

void
worker_free(struct worker *w, void (*drop)(struct worker_job *))
{
    struct worker_job *job;

    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->nthreads; i++)
        pthread_join(w->threads[i], NULL);
    while ((job = queue_take(&w->finished)) || (job = queue_take(&w->waiting)))
        if (drop)
            drop(job);
    loop_waker_free(w->waker);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

int
worker_submit(struct worker *w, struct worker_job *job)
{
    int r = threads_ready(w);

    if (r < 0)
        return r;
    pthread_mutex_lock(&w->lock);
    if (w->nwaiting >= w->max_waiting) {
        r = ERR_LIMIT;
    } else {
        queue_add(&w->waiting, job);
        w->nwaiting++;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}
