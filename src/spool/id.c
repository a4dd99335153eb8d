/*
 * spool/id.c - message ids as bytes and as text.
 *
 * Called by everybody who shows or reads an id. Never makes one: epochs come from the pool,
 * sequences from the writer.
 */
#include "spool/id.h"

#include "core/codec.h"
#include "core/err.h"

static void
big32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static uint32_t
big32_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
spool_id_bytes(const struct spool_id *id, uint8_t dst[16])
{
    big32(dst, id->node);
    big32(dst + 4, id->epoch);
    big32(dst + 8, (uint32_t)(id->seq >> 32));
    big32(dst + 12, (uint32_t)id->seq);
}

void
spool_id_from(const uint8_t src[16], struct spool_id *ret)
{
    ret->node = big32_get(src);
    ret->epoch = big32_get(src + 4);
    ret->seq = (uint64_t)big32_get(src + 8) << 32 | big32_get(src + 12);
}

const char *
spool_id_show(const struct spool_id *id, char dst[SPOOL_ID_TEXT])
{
    uint8_t b[16];

    spool_id_bytes(id, b);
    codec_id_text(b, dst);
    return dst;
}

int
spool_id_parse(struct str text, struct spool_id *ret)
{
    uint8_t b[16];
    int err = codec_id_parse(text, b);

    if (err < 0)
        return err;
    spool_id_from(b, ret);
    return 0;
}
