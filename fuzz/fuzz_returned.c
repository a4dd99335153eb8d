/*
 * fuzz/fuzz_returned.c - bodies that say that they return mail of ours: in one piece and byte by
 * byte the same is found, which is nothing, since no input can hold a tag by a key that is made
 * here.
 */
#include "gate/returned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
make_keys(struct returned_keys *keys)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct snapshot s;
    char value[8 + SECRET_BYTES];

    memset(value, 0x5a, sizeof(value));
    snapshot_add(b, SNAPSHOT_SECRET, STR(SECRET_RETURNS), str_of(value, sizeof(value)));
    ENSURE(snapshot_map(&s, snapshot_finish(b)) == 0);
    returned_keys_set(keys, &s);
    ENSURE(keys->n == 1);
    snapshot_unmap(&s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct returned_keys keys;
    struct returned whole, bytes;

    if (!keys.n)
        make_keys(&keys);
    returned_begin(&whole, &keys, STR("mx.gate.test"), STR("a@gate.test"), 1790000000, 86400);
    bytes = whole;
    returned_feed(&whole, (const char *)data, n);
    for (size_t i = 0; i < n; i++)
        returned_feed(&bytes, (const char *)data + i, 1);
    ENSURE(!whole.found && !bytes.found);
    ENSURE(whole.tries == bytes.tries && whole.tries <= 16);
    ENSURE(whole.tries == 16 || (whole.n == bytes.n && whole.near == bytes.near));
    return 0;
}
