/* tests/unit/test_core_arena.c - alignment, zeroes, ceilings, cleanups. */
#include "core/arena.h"
#include "tap.h"

static char order[8];
static size_t order_n;

static void
note(void *ctx)
{
    if (order_n < sizeof(order))
        order[order_n++] = *(const char *)ctx;
}

static void
test_alloc(void)
{
    struct arena a;
    bool aligned = true, zero = true;

    arena_init(&a, 1 << 20);
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(&a, n);

        aligned = aligned && p && (uintptr_t)p % 16 == 0;
        for (size_t i = 0; p && i < n; i++)
            zero = zero && p[i] == 0;
        if (p)
            memset(p, 0xff, n);
    }
    OK(aligned, "pieces are aligned");
    OK(zero, "and zeroed");
    OK(arena_alloc(&a, 200000) != NULL, "a large piece");
    char *p = arena_alloc(&a, 16);
    arena_reset(&a);
    IS(a.used, 0, "reset: nothing used");
    OK(p != NULL, "p was there");
    p = arena_alloc(&a, 4000);
    zero = p != NULL;
    for (size_t i = 0; zero && i < 4000; i++)
        zero = p[i] == 0;
    OK(zero, "memory is zeroed again after a reset");
    arena_done(&a);
    OK(arena_alloc(&a, 1) != NULL, "used again after done");
    arena_done(&a);
}

static void
test_ceiling(void)
{
    struct arena a, zero = {0};

    arena_init(&a, 160);
    OK(arena_alloc(&a, 100) != NULL, "within");
    OK(arena_alloc(&a, 100) == NULL, "beyond");
    OK(arena_alloc(&a, 48) != NULL, "to the last byte");
    OK(arena_alloc(&a, 1) == NULL, "none left");
    OK(arena_alloc(&a, SIZE_MAX) == NULL && arena_alloc(&a, SIZE_MAX - 20) == NULL, "no overflow");
    OK(ARENA_ARRAY(&a, uint64_t, SIZE_MAX / 4) == NULL, "no overflow in a product");
    OK(arena_str(&a, STR("abc")).p == NULL && arena_fmt(&a, "%d", 3).p == NULL, "texts, too");
    OK(!arena_on_done(&a, note, order), "a cleanup that does not fit is refused");
    arena_done(&a);
    OK(arena_alloc(&zero, 1) == NULL, "a zeroed arena gives nothing");
    arena_done(&zero);
    arena_reset(&zero);
}

static void
test_texts(void)
{
    static char x = 'x', y = 'y';
    struct arena a;
    struct str s;

    arena_init(&a, 1 << 20);
    s = arena_str(&a, STR("abc"));
    OK(s.n == 3 && s.p[3] == '\0', "copied with a NUL behind it");
    s = arena_str(&a, STR_NONE);
    OK(s.n == 0 && s.p && s.p[0] == '\0', "also of nothing");
    TEXT(arena_fmt(&a, "%s-%d", "a", 7), "a-7", "formatted");
    OK(memcmp(arena_copy(&a, "\1\2", 2), "\1\2", 2) == 0, "bytes");
    OK(arena_on_done(&a, note, &x) && arena_on_done(&a, note, &y), "registered");
    arena_done(&a);
    OK(order_n == 2 && order[0] == 'y' && order[1] == 'x', "cleanups run last first");
    arena_done(&a);
    IS(order_n, 2, "once");
}

int
main(void)
{
    test_alloc();
    test_ceiling();
    test_texts();
    return tap_done();
}
