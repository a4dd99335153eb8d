/*
 * roles/bundle.h - all that a role needs of the file system, in one sealed memfd: the settings'
 * texts and the files they name (certificates, keys, tables), read before the sandbox closes.
 *
 * The loader makes it; the supervisor only hands it on. Keys of TLS are in the gate's bundle alone.
 */
#ifndef GAPURA_ROLES_BUNDLE_H
#define GAPURA_ROLES_BUNDLE_H

#include "core/conf.h"
#include "core/err.h"

#define BUNDLE_MAX (64u << 20)

struct bundle {
    uint64_t generation;
    struct conf_texts texts; /* views into `base` */
    struct bundle_file *files;
    size_t nfiles;
    const char *base;
    size_t size;
    struct arena arena;
};
struct bundle_file {
    struct str path, text;
    uint8_t audience; /* BUNDLE_FOR_* */
};
#define BUNDLE_FOR_GATE     1u
#define BUNDLE_FOR_COURIER  2u
#define BUNDLE_FOR_RESOLVER 4u
#define BUNDLE_FOR_KEEPER   8u

/* Sealed memfd with the texts and those files whose audience has a bit in common; or -errno. */
int bundle_write(const struct conf_texts *, const struct bundle_file *, size_t nfiles,
                 uint8_t audience, uint64_t generation);
int bundle_read(struct bundle *ret, int fd); /* takes fd */
void bundle_done(struct bundle *);
struct str bundle_find(const struct bundle *, struct str path); /* empty if absent */

#endif
