/*
 * courier/replies_unknown.h - replies that no pattern knew, as delivery met them: counted by shape,
 * shown by `gapura replies unknown`, told in an event when a shape is met often.
 *
 * Lives as long as the courier: a restart begins anew. At most delivery.unknown_replies shapes.
 */
#ifndef GAPURA_COURIER_REPLIES_UNKNOWN_H
#define GAPURA_COURIER_REPLIES_UNKNOWN_H

#include "courier/inner.h"
#include "courier/reply_class_shape.h"

/* Room for as many as the settings say; another number of them begins anew. */
int replies_unknown_take(struct courier *);
/* An answer that `n` recipients shared. What patterns knew is left out. site may be NULL. */
void replies_unknown_note(struct courier *, const char *site, struct str text,
                          const struct reply_class_result *, uint32_t n);

#endif
