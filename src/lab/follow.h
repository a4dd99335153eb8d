/*
 * lab/follow.h - follows the gateway's event file: each new line becomes a JSON object.
 */
#ifndef GAPURA_LAB_FOLLOW_H
#define GAPURA_LAB_FOLLOW_H

#include <jansson.h>

#include "net/loop.h"

struct follow;
/* From what is written from now on; the file may come later, and be rotated. NULL: no memory. */
struct follow *follow_create(struct loop *, const char *path,
                             void (*event)(void *ctx, const json_t *), void *ctx);
void follow_free(struct follow *);
void follow_look(struct follow *); /* now, not at the next turn: for the end */

#endif
