/*
 * store/keeper_inner.h - what the keeper's files share with each other. Others use keeper.h.
 */
#ifndef GAPURA_STORE_KEEPER_INNER_H
#define GAPURA_STORE_KEEPER_INNER_H

#include "store/directory.h"
#include "store/keeper.h"
#include "store/sources.h"
#include "store/store.h"

struct keeper {
    struct keeper_links links;
    const struct conf *conf;
    struct store *store;
    struct sources *sources;
    struct watch *watch;
    struct worker *worker;
    struct dovecot *dovecot; /* NULL until asked for */
    struct keeper_ask *asks; /* questions that wait for a directory */
    unsigned nasks;
    struct loop_call publish;
    struct {
        int fd;
        uint64_t generation;
    } views[KEEPER_VIEWS_];
    uint64_t problem_at; /* of the last one told about directories */
};

void keeper_problem(struct keeper *, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Snapshots are built once the present callback is over. */
void keeper_publish_soon(struct keeper *);
void keeper_asks_drop(struct keeper *); /* keeper_ask.c: at the end of the worker */

#endif
