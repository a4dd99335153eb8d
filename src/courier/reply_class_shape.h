/*
 * courier/reply_class_shape.h - replies that no pattern knows, gathered by their shape. Pure.
 *
 * A shape is the reply with its numbers, addresses, hosts, ids and URLs replaced by placeholders:
 * what a million different recipients are told by one unknown server is one shape. The table is
 * bounded; when it is full the rarest gives its place and its count to the new one, so those that
 * are frequent stay (Metwally, Agrawal, El Abbadi: Space-Saving).
 */
#ifndef GAPURA_COURIER_REPLY_CLASS_SHAPE_H
#define GAPURA_COURIER_REPLY_CLASS_SHAPE_H

#include "courier/reply_class.h"

#define REPLY_SHAPE_MAX 400u /* bytes of a shape and of its example */
#define REPLY_SITE_MAX  255u

struct reply_shape {
    const char *shape, *example, *site; /* of the last one seen */
    uint16_t code;
    uint64_t count;
    uint64_t error;       /* of `count` at most so many were another shape's */
    uint64_t first, last; /* as they were given */
    bool often;           /* count - error has just reached 10, 100, 1000 ...: worth a word */
};

/* True: nothing but a code, or less, decided. */
bool reply_shape_is_unknown(const struct reply_class_result *);
/* Writes the shape with a final NUL; returns its length. */
size_t reply_shape_of(struct str text, char *dst, size_t cap);

struct reply_shapes;
struct reply_shapes *reply_shapes_create(uint32_t max); /* NULL without memory */
void reply_shapes_free(struct reply_shapes *);
/* Counts `times` more. *ret, which may be NULL, lives until the next add. */
int reply_shapes_add(struct reply_shapes *, struct str text, uint16_t code, struct str site,
                     uint64_t times, uint64_t now, struct reply_shape *ret);
uint32_t reply_shapes_count(const struct reply_shapes *);
/* The most frequent first; at most `max` views that live until the next add. Returns how many. */
uint32_t reply_shapes_list(const struct reply_shapes *, struct reply_shape *ret, uint32_t max);

#endif
