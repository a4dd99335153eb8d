/*
 * tests/unit/test_courier_index.c - the index of waiting recipients: states, order, the wheel, ids,
 * and the memory of a million recipients (ceiling 200 bytes each).
 */
#include "courier/index.h"
#include "tap.h"

#define MILLION 1000000u

static unsigned filled, emptied;

static void
changed(void *ctx, uint32_t lane, bool full)
{
    (void)ctx;
    (void)lane;
    filled += full;
    emptied += !full;
}

static void
test_states(void)
{
    struct index ix;
    uint32_t m, d, rows[3];

    index_init(&ix, 1000, 100);
    ix.lane_changed = changed;
    m = index_message_add(&ix, 5, 77);
    OK(m != INDEX_NONE && index_message_add(&ix, 5, 77) == INDEX_NONE, "an id is there once");
    d = index_dest_get(&ix, STR("example.org"), STR_NONE);
    IS(index_dest_get(&ix, STR("example.org"), STR_NONE), d, "a destination too");
    OK(index_dest_get(&ix, STR("example.org"), STR("inside")) != d, "a transport makes another");
    TEXT(index_dest_via(index_dest(&ix, d + 1)), "inside", "its transport");
    for (uint32_t i = 0; i < 3; i++)
        rows[i] = index_row_add(&ix, m, i, d, i ? rows[i - 1] : INDEX_NONE);
    for (uint32_t i = 0; i < 3; i++)
        IS(index_row_find(&ix, m, i), rows[i], "found by ordinal");
    for (uint32_t i = 0; i < 3; i++)
        index_ready(&ix, rows[i]);
    IS(filled, 1, "told once that there is work");
    IS(index_lane(&ix, index_dest(&ix, d)->lanes)->head, rows[0], "oldest first");
    index_set(&ix, rows[0], ROW_ACTIVE);
    index_ready_first(&ix, rows[0]);
    IS(index_lane(&ix, index_dest(&ix, d)->lanes)->head, rows[0],
       "what was taken comes back first");
    index_wait(&ix, rows[1], 150);
    index_wait(&ix, rows[2], 100000);
    IS(index_due(&ix, 149), INDEX_NONE, "not yet");
    IS(index_due(&ix, 150), rows[1], "on its tick");
    IS(index_due(&ix, 99999), INDEX_NONE, "the other waits");
    IS(index_due(&ix, 100000), rows[2], "after two moves down");
    index_row_free(&ix, rows[0]);
    IS(emptied, 1, "told that there is none");
    IS(index_row_find(&ix, m, 0), INDEX_NONE, "gone");
    index_message_drop(&ix, m);
    IS(index_message_find(&ix, 5, 77), INDEX_NONE, "the message too");
    IS(ix.rows.count, 0, "with its rows");
    index_done(&ix);
}

static void
test_ids(void)
{
    struct index ix;
    uint64_t seed = 1;
    bool good = true;

    index_init(&ix, 100000, 16);
    for (unsigned i = 0; i < 20000; i++) { /* nearly in order, as writers give them */
        uint64_t seq = i + 1;
        seed = seed * UINT64_C(6364136223846793005) + 1;
        if (seed >> 60 == 0)
            seq = UINT64_C(1000000) + (seed >> 40);
        good = good && (index_message_add(&ix, 9, seq) != INDEX_NONE ||
                        index_message_find(&ix, 9, seq) != INDEX_NONE);
    }
    OK(good, "all are in");
    good = index_message_add(&ix, 9, UINT64_MAX - 3) != INDEX_NONE &&
           index_message_add(&ix, 8, 4) != INDEX_NONE;
    OK(good, "far ones as well");
    for (unsigned i = 0; i < 20000; i += 3) {
        uint32_t m = index_message_find(&ix, 9, i + 1);
        if (m == INDEX_NONE)
            continue;
        good = good && index_message(&ix, m)->seq == i + 1;
        index_message_drop(&ix, m);
        good = good && index_message_find(&ix, 9, i + 1) == INDEX_NONE;
    }
    OK(good, "a third goes");
    OK(index_message(&ix, index_message_from(&ix, 9, 999999))->seq >= 1000000, "the next one");
    IS(index_message_from(&ix, 10, 0), INDEX_NONE, "no such epoch");
    index_done(&ix);
}

static void
test_wheel(void)
{
    struct index ix;
    uint32_t m, d, n = 0, last = 0;
    uint64_t seed = 7;
    bool ordered = true;

    index_init(&ix, 100000, 1000);
    m = index_message_add(&ix, 1, 1);
    d = index_dest_get(&ix, STR("a"), STR_NONE);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t row = index_row_add(&ix, m, i, d, INDEX_NONE);
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        index_wait(&ix, row, 1000 + (uint32_t)(seed >> 33) % 30000000u);
    }
    for (uint32_t now = 1000; n < 20000 && now < 40000000; now += 977) {
        uint32_t row;
        while ((row = index_due(&ix, now)) != INDEX_NONE) {
            uint32_t due = index_row(&ix, row)->due;
            ordered = ordered && due <= now && due + 977 > last && due > now - 978;
            n++;
        }
        last = now;
    }
    IS(n, 20000, "every row comes up");
    OK(ordered, "within its tick");
    IS(wheel_next(&ix.wheel), UINT32_MAX, "then the wheel is empty");
    index_done(&ix);
}

static double
fill(unsigned messages, unsigned rcpts, unsigned dests, bool wait)
{
    struct index ix;
    size_t bytes;

    index_init(&ix, 4 * MILLION, 16);
    for (unsigned i = 0; i < messages; i++) {
        uint32_t m = index_message_add(&ix, 1 + i / 500000, i), row = INDEX_NONE;
        for (unsigned k = 0; k < rcpts; k++) {
            char name[40];
            size_t n = str_fmt(name, sizeof name, "recipient-%u.example", (i * rcpts + k) % dests);
            row = index_row_add(&ix, m, k, index_dest_get(&ix, str_of(name, n), STR_NONE), row);
            if (wait)
                index_wait(&ix, row, 1000 + i % 100000);
            else
                index_ready(&ix, row);
        }
    }
    bytes = index_memory(&ix);
    IS(ix.rows.count, messages * rcpts, "all are in");
    index_done(&ix);
    return (double)bytes / (messages * rcpts);
}

static void
test_memory(void)
{
    static const struct {
        unsigned messages, rcpts, dests;
        bool wait;
        const char *what;
    } cases[] = {
        {MILLION, 1, 100000, false, "a million messages over 100,000 domains, ready"},
        {MILLION, 1, 100000, true, "the same, waiting"},
        {1000, 1000, 100000, false, "1,000 messages of 1,000 recipients"},
        {1000, 1000, 100, false, "the same over 100 domains"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double each = fill(cases[i].messages, cases[i].rcpts, cases[i].dests, cases[i].wait);
        OK(each <= 200, "%s: %.1f bytes a recipient", cases[i].what, each);
    }
}

int
main(void)
{
    IS(sizeof(struct index_message), 56, "a message");
    IS(sizeof(struct index_row), 32, "a row");
    test_states();
    test_ids();
    test_wheel();
    test_memory();
    return tap_done();
}
