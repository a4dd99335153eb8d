/* Bundles: what the loader wrote is read back, each role gets its own files only, nobody can change
 * them, and damage is refused. */
#include "roles/bundle.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"

static struct conf_texts texts;
static const struct bundle_file files[] = {
    {STR("tls/key.pem"), STR("the key"), BUNDLE_FOR_GATE},
    {STR("password"), STR("the password"), BUNDLE_FOR_COURIER},
    {STR("ca.pem"), STR("the authorities"), BUNDLE_FOR_GATE | BUNDLE_FOR_COURIER},
    {STR("empty"), STR_NONE, BUNDLE_FOR_GATE},
};

static int
written(uint8_t audience)
{
    texts.items[0] = (struct conf_text){STR("/etc/gapura.conf"), STR("hostname = a.test\n")};
    texts.items[1] = (struct conf_text){STR("/etc/conf.d/b.conf"), STR("")};
    texts.n = 2;
    return bundle_write(&texts, files, ARRAY_LEN(files), audience, 42);
}

static void
test_round_trip(void)
{
    struct bundle b;
    int fd = written(BUNDLE_FOR_GATE);
    OK(fd >= 0, "written");
    IS(write(fd, "x", 1), -1, "nobody writes to it");
    IS(ftruncate(fd, 8), -1, "nobody cuts it");
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    OK(p == MAP_FAILED, "nobody maps it for writing");
    IS(bundle_read(&b, fd), 0, "read");
    IS(fcntl(fd, F_GETFD), -1, "its descriptor was taken");
    IS(b.generation, 42, "generation");
    IS(b.texts.n, 2, "texts");
    TEXT(b.texts.items[0].path, "/etc/gapura.conf", "path");
    TEXT(b.texts.items[0].text, "hostname = a.test\n", "text");
    TEXT(b.texts.items[1].text, "", "an empty text");
    TEXT(bundle_find(&b, STR("tls/key.pem")), "the key", "a file of the gate");
    TEXT(bundle_find(&b, STR("ca.pem")), "the authorities", "one of two roles");
    IS(bundle_find(&b, STR("password")).n, 0, "not the courier's");
    IS(bundle_find(&b, STR("")).n, 0, "no name, no file");
    bundle_done(&b);
    bundle_done(&b);
    OK(!b.base && !b.nfiles, "done twice");
}

static void
test_audiences(void)
{
    static const struct {
        uint8_t audience;
        size_t nfiles;
    } rows[] = {
        {0, 0},
        {BUNDLE_FOR_GATE, 3},
        {BUNDLE_FOR_COURIER, 2},
        {BUNDLE_FOR_KEEPER, 0},
        {BUNDLE_FOR_RESOLVER, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bundle b;
        int fd = written(rows[i].audience), keys = 0;
        off_t size = lseek(fd, 0, SEEK_END);
        char *raw = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (raw != MAP_FAILED) {
            keys = memmem(raw, (size_t)size, "the key", 7) != NULL;
            munmap(raw, (size_t)size);
        }
        IS(keys, rows[i].audience == BUNDLE_FOR_GATE, "the key is in the gate's memory alone");
        IS(bundle_read(&b, fd), 0, "read");
        IS(b.nfiles, rows[i].nfiles, "files of audience %u", rows[i].audience);
        bundle_done(&b);
    }
}

static int
memory_of(const char *p, size_t n)
{
    int fd = memfd_create("damaged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && write(fd, p, n) != (ssize_t)n) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK);
    return fd;
}

/* Cut anywhere, or with any byte changed, it is refused or read within its bounds. */
static void
test_damage(void)
{
    int fd = written(BUNDLE_FOR_GATE), accepted = 0, changed = 0;
    char raw[4096];
    ssize_t n = pread(fd, raw, sizeof raw, 0);
    struct bundle b;
    close(fd);
    OK(n > 24 && n < (ssize_t)sizeof raw, "a small one");
    for (ssize_t at = 0; at < n; at++)
        accepted += bundle_read(&b, memory_of(raw, (size_t)at)) == 0;
    IS(accepted, 0, "cut short: refused");
    for (ssize_t at = 0; at < n; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            raw[at] = (char)(raw[at] ^ (1 << bit));
            if (!bundle_read(&b, memory_of(raw, (size_t)n))) {
                (void)bundle_find(&b, STR("ca.pem"));
                bundle_done(&b);
                changed++;
            }
            raw[at] = (char)(raw[at] ^ (1 << bit));
        }
    OK(changed > 0, "changed: survived");
    raw[n] = 'x';
    OK(bundle_read(&b, memory_of(raw, (size_t)n + 1)) == ERR_CORRUPT, "a byte too many: refused");
    OK(bundle_read(&b, -1) < 0, "no descriptor: refused");
    int open = memfd_create("not sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    OK(write(open, raw, (size_t)n) == n, "the same, not sealed");
    IS(bundle_read(&b, open), ERR_CORRUPT, "could be cut under our feet: refused");
}

static void
test_counts(void)
{
    CLEANUP(buf_done) struct buf w;
    struct bundle b;
    buf_init(&w, 1024);
    buf_str(&w, STR("GAPUBND1"));
    for (int i = 0; i < 8; i++)
        buf_char(&w, 0);
    for (int i = 0; i < 4; i++)
        buf_char(&w, 0);
    for (int i = 0; i < 4; i++)
        buf_char(&w, (char)0xff);
    OK(bundle_read(&b, memory_of(w.p, w.n)) == ERR_CORRUPT, "four billion files: refused");
}

int
main(void)
{
    test_round_trip();
    test_audiences();
    test_damage();
    test_counts();
    return tap_done();
}
