/*
 * roles/fixed.c - digests of the settings that a reload may not change.
 *
 * Called by the loader. Never sees what was in force before: the supervisor compares.
 */
#include "roles/fixed.h"

#include "core/crc32c.h"

static uint32_t
digest_text(uint32_t crc, struct str s)
{
    uint64_t n = s.n; /* with its length: "a","bc" is not "ab","c" */
    crc = crc32c(crc, &n, sizeof n);
    return crc32c(crc, s.n ? s.p : "", s.n);
}

static uint32_t
digest_list(const struct conf_row *row, const struct conf_list *list)
{
    static const size_t sizes[] = {
        [CONF_ENDPOINTS] = sizeof(struct endpoint),
        [CONF_PREFIXES] = sizeof(struct prefix),
        [CONF_DURATIONS] = sizeof(uint64_t),
    };
    uint32_t crc = crc32c(0, &list->n, sizeof list->n);
    if (row->type == CONF_LINES) { /* where a line stands is no change */
        for (size_t i = 0; i < list->n; i++)
            crc = digest_text(crc, ((const struct conf_line *)list->items)[i].text);
        return crc;
    }
    if (row->type != CONF_TEXTS)
        return crc32c(crc, list->n ? list->items : "", list->n * sizes[row->type]);
    for (size_t i = 0; i < list->n; i++)
        crc = digest_text(crc, ((const struct str *)list->items)[i]);
    return crc;
}

static uint32_t
digest(const struct conf_row *row, const void *data)
{
    const void *field = (const char *)data + row->offset;
    switch (row->type) {
    case CONF_BOOL:
        return crc32c(0, field, sizeof(bool));
    case CONF_WORD:
        return crc32c(0, field, sizeof(int));
    case CONF_U64:
    case CONF_SIZE:
    case CONF_DURATION:
    case CONF_FLAGS:
    case CONF_POINTS:
        return crc32c(0, field, sizeof(uint64_t));
    case CONF_RATE:
        return crc32c(0, field, sizeof(struct rate));
    case CONF_ENDPOINT:
        return crc32c(0, field, sizeof(struct endpoint));
    case CONF_ADDR:
        return crc32c(0, field, sizeof(struct addr));
    case CONF_TEXT:
    case CONF_NAME:
    case CONF_DOMAIN:
    case CONF_PATH:
        return digest_text(0, *(const struct str *)field);
    case CONF_TEXTS:
    case CONF_ENDPOINTS:
    case CONF_PREFIXES:
    case CONF_DURATIONS:
    case CONF_LINES:
        return digest_list(row, field);
    }
    return 0;
}

void
fixed_encode(struct buf *b, const struct conf *conf, const struct conf_block *const *blocks,
             size_t nblocks)
{
    uint32_t n = 0;
    for (size_t i = 0; i < nblocks; i++)
        for (size_t k = 0; k < blocks[i]->nrows && !blocks[i]->labelled; k++)
            n += (blocks[i]->rows[k].flags & CONF_RESTART) != 0;
    put_u32(b, n);
    for (size_t i = 0; i < nblocks; i++) {
        const struct conf_block *block = blocks[i];
        for (size_t k = 0; k < block->nrows && !block->labelled; k++) {
            char name[128];
            const struct conf_row *row = &block->rows[k];
            if (!(row->flags & CONF_RESTART))
                continue;
            str_fmt(name, sizeof name, "%s%s%s", block->name, block->name[0] ? "." : "", row->name);
            put_str(b, str_c(name));
            put_u32(b, digest(row, conf_get(conf, block->name)));
        }
    }
}
