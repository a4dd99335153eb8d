/*
 * bench/mime_bench.c - the MIME parser over a folder of messages: MB/s and messages/s on one core.
 *
 *     build/bench/mime_bench FOLDER [SECONDS]
 *
 * Everything is decoded and handed to a sink that only counts.
 */
#include <dirent.h>
#include <stdlib.h>

#include "core/clock.h"
#include "mail/mime.h"

#define FILES_MAX 4096u

static uint64_t decoded, parts;

static void
on_begin(void *ctx, const struct mime_part *p)
{
    (void)ctx;
    (void)p;
    parts++;
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    (void)ctx;
    (void)p;
    (void)data;
    decoded += n;
}

static struct str
slurp(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return STR_NONE;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = malloc((size_t)n + 1);
    size_t got = text ? fread(text, 1, (size_t)n, f) : 0;
    fclose(f);
    return str_of(text, got);
}

int
main(int argc, char **argv)
{
    static const struct mime_sink sink = {.begin = on_begin, .data = on_data};
    static struct str files[FILES_MAX];
    struct dirent **names;
    uint64_t bytes = 0, messages = 0, began, took;
    unsigned nfiles = 0;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 5;
    int n = argc > 1 ? scandir(argv[1], &names, NULL, alphasort) : -1;

    for (int i = 0; i < n && nfiles < FILES_MAX; i++) {
        if (names[i]->d_name[0] != '.')
            files[nfiles++] = slurp(argv[1], names[i]->d_name);
    }
    if (!nfiles) {
        fprintf(stderr, "usage: mime_bench FOLDER [SECONDS]\n");
        return 2;
    }
    began = clock_mono();
    do {
        for (unsigned i = 0; i < nfiles; i++) {
            struct mime *m;
            if (mime_create(&m, &mime_limits_default, &sink, NULL) < 0)
                return 1;
            mime_feed(m, files[i].p, files[i].n);
            mime_end(m);
            mime_free(m);
            bytes += files[i].n;
            messages++;
        }
        took = clock_mono() - began;
    } while ((double)took < seconds * (double)NS_PER_S);
    double s = (double)took / (double)NS_PER_S;
    printf("mime: %.0f MB/s, %.0f messages/s, %.1f parts each (%u files, %.1f s)\n",
           (double)bytes / 1e6 / s, (double)messages / s, (double)parts / (double)messages, nfiles,
           s);
    return 0;
}
