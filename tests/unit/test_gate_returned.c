/* tests/unit/test_gate_returned.c - tags of what we send: found in reports in any pieces, believed
 * for one sender, one message, a while and two keys; nothing else is. */
#include "gate/received.h"
#include "gate/returned.h"
#include "tap.h"

#define HOUR   UINT64_C(3600)
#define NOW    (UINT64_C(20000) * 24 * HOUR + 1234)
#define LIFE   (240 * HOUR)
#define SENDER "Ann.B@gate.test"

static struct returned_keys old_keys, keys, new_keys, none;
static const struct spool_id id = {.node = 7, .epoch = 2, .seq = 99};

/* A snapshot as the keeper makes it, with keys of these letters, the newest first. */
static void
set_keys(struct returned_keys *k, const char *all)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct snapshot s;
    char value[SECRET_KEPT * (8 + SECRET_BYTES)] = {0};
    size_t n = strlen(all);

    for (size_t i = 0; i < n; i++)
        memset(value + i * (8 + SECRET_BYTES) + 8, all[i], SECRET_BYTES);
    snapshot_add(b, SNAPSHOT_SECRET, STR(SECRET_RETURNS), str_of(value, n * (8 + SECRET_BYTES)));
    if (!OK(snapshot_map(&s, snapshot_finish(b)) == 0, "a snapshot"))
        return;
    returned_keys_set(k, &s);
    IS(k->n, n, "%zu keys", n);
    snapshot_unmap(&s);
}

static bool
found(const struct returned_keys *k, const char *to, uint64_t now, const char *text, size_t step)
{
    static struct returned r;
    struct str s = str_c(text);

    returned_begin(&r, k, STR("mx.gate.test"), str_c(to), now, LIFE);
    for (size_t at = 0; at < s.n; at += step)
        returned_feed(&r, s.p + at, MIN(step, s.n - at));
    return r.found;
}

/* A report that brings back our field with that tag. */
static const char *
report(const struct spool_id *of, const char *tag)
{
    static char room[4000];
    char text[SPOOL_ID_TEXT];
    struct received r = {.helo = STR("h"),
                         .hostname = STR("mx.gate.test"),
                         .id = str_c(spool_id_show(of, text)),
                         .tag = str_c(tag),
                         .esmtp = true,
                         .rcpt = STR("a@b.test"),
                         .date = STR("now")};
    struct buf b;

    buf_init(&b, sizeof(room) - 1);
    buf_c(&b, "Text before\r\n");
    received_write(&b, &r);
    str_fmt(room, sizeof(room), "%.*s", STR_ARG(buf_view(&b)));
    buf_done(&b);
    return room;
}

static void
test_found(const char *tag)
{
    char line[3000], wide[700], shown[SPOOL_ID_TEXT];
    const char *text = report(&id, tag);

    OK(strstr(text, "\r\n\t(return ") && strstr(text, "\r\n\tfor <a@b.test>"),
       "it stands on a line of its own");
    for (size_t step = 1; step < 40; step++)
        OK(found(&keys, SENDER, NOW, text, step), "as we write it, in pieces of %zu", step);
    OK(found(&keys, SENDER, NOW, text, 4000), "and whole");
    OK(found(&keys, "ann.b@gate.test", NOW, text, 9), "case may be lost on the way");
    str_fmt(line, sizeof(line), "Received: by mx.gate.test with ESMTP id %s (return %s)\r\n",
            spool_id_show(&id, shown), tag);
    OK(found(&keys, SENDER, NOW, line, 11), "unfolded by somebody");
    memset(wide, 'x', sizeof(wide));
    str_fmt(line, sizeof(line), "%.*s\r\n%s", (int)sizeof(wide), wide, text);
    OK(found(&keys, SENDER, NOW, line, 7), "behind a line that is too long");
}

static void
test_refused(const char *tag)
{
    struct spool_id other = id;
    char line[200], forged[RETURNED_TAG];
    unsigned good = 0;

    OK(!found(&keys, "bob@gate.test", NOW, report(&id, tag), 9), "another recipient");
    OK(!found(&keys, "ann.b@other.test", NOW, report(&id, tag), 9), "another domain");
    other.seq++;
    OK(!found(&keys, SENDER, NOW, report(&other, tag), 9), "the tag of another message");
    other = (struct spool_id){.node = 8, .epoch = 2, .seq = 99};
    OK(!found(&keys, SENDER, NOW, report(&other, tag), 9), "of another node");
    OK(found(&keys, SENDER, NOW + LIFE, report(&id, tag), 9), "young enough");
    OK(!found(&keys, SENDER, NOW + LIFE + HOUR, report(&id, tag), 9), "too old");
    OK(found(&keys, SENDER, NOW - HOUR, report(&id, tag), 9), "our clocks differ a little");
    OK(!found(&keys, SENDER, NOW - 2 * HOUR, report(&id, tag), 9), "from the future");
    OK(!found(&none, SENDER, NOW, report(&id, tag), 9), "no keys");
    OK(!found(&keys, SENDER, NOW, report(&id, ""), 9), "an id that was seen, and no tag");
    str_fmt(line, sizeof(line), "\t(return %s)\r\n", tag);
    OK(!found(&keys, SENDER, NOW, line, 9), "a tag without its field");
    for (unsigned i = 0; i < RETURNED_TAG - 1; i++) {
        str_copy(str_c(tag), forged, sizeof(forged));
        forged[i] = forged[i] == 'a' ? 'b' : 'a';
        good += found(&keys, SENDER, NOW, report(&id, forged), 9);
    }
    IS(good, 0, "no letter may be another one");
    for (const char *c = "A18 )("; *c; c++) {
        memset(forged, *c, sizeof(forged) - 1);
        forged[sizeof(forged) - 1] = '\0';
        good += found(&keys, SENDER, NOW, report(&id, forged), 9);
    }
    for (unsigned n = 0; n < RETURNED_TAG - 1; n++) {
        str_fmt(forged, sizeof(forged), "%.*s", (int)n, tag);
        good += found(&keys, SENDER, NOW, report(&id, forged), 9);
    }
    IS(good, 0, "and what is no tag is none");
}

/* What is signed with one key is known while that is the one before the newest. */
static void
test_rotation(void)
{
    char tag[RETURNED_TAG], again[RETURNED_TAG];

    OK(returned_tag(&old_keys, &id, STR(SENDER), NOW, tag), "a tag of the first key");
    OK(found(&keys, SENDER, NOW, report(&id, tag), 9), "known by its successor");
    OK(!found(&new_keys, SENDER, NOW, report(&id, tag), 9), "and not by the one after");
    OK(returned_tag(&keys, &id, STR(SENDER), NOW, again) && strcmp(tag, again) != 0,
       "the newest signs");
}

/* A body full of fields that look like ours costs a few digests, and hides no true one early on. */
static void
test_flood(const char *tag)
{
    char text[SPOOL_ID_TEXT], line[200], forged[RETURNED_TAG];
    static char all[200000];
    static struct returned r;
    size_t n = 0;

    str_copy(str_c(tag), forged, sizeof(forged));
    forged[RETURNED_TAG - 2] = forged[RETURNED_TAG - 2] == 'a' ? 'b' : 'a';
    str_fmt(line, sizeof(line), "by mx.gate.test id %s\r\n(return %s)\r\n",
            spool_id_show(&id, text), forged);
    while (n + strlen(line) < sizeof(all))
        n += str_fmt(all + n, sizeof(all) - n, "%s", line);
    returned_begin(&r, &keys, STR("mx.gate.test"), STR(SENDER), NOW, LIFE);
    returned_feed(&r, all, n);
    OK(!r.found && r.tries <= 16, "%zu bytes cost %u digests", n, r.tries);
}

int
main(void)
{
    static const char *const odd[] = {"", "by mx.gate.test id \r\nby mx.gate.test\r\nby \r\nid\r\n",
                                      "(return \r\n(return )\r\n", "by mx.gate.test id x (return"};
    char tag[RETURNED_TAG] = "", again[RETURNED_TAG] = "";

    set_keys(&old_keys, "a");
    set_keys(&keys, "ba");
    set_keys(&new_keys, "cb");
    OK(!returned_tag(&none, &id, STR(SENDER), NOW, tag), "without keys there are no tags");
    OK(returned_tag(&keys, &id, STR(SENDER), NOW, tag) &&
           returned_tag(&keys, &id, STR(SENDER), NOW, again) && strcmp(tag, again) == 0 &&
           strlen(tag) == RETURNED_TAG - 1,
       "a tag: %s", tag);
    test_found(tag);
    test_refused(tag);
    test_rotation();
    test_flood(tag);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        OK(!found(&keys, SENDER, NOW, odd[i], 3), "nothing to read");
    returned_keys_done(&old_keys);
    returned_keys_done(&keys);
    returned_keys_done(&new_keys);
    return tap_done();
}
