/*
 * fuzz/driver.c - runs a fuzz target over files, without a fuzzer: gcc builds it, tests replay with
 * it what the fuzzer once found. Arguments are files or folders.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "core/buf.h"

#define INPUT_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned long ran;

static void
run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char piece[65536];
    struct buf in;
    size_t n;

    if (!f)
        return;
    buf_init(&in, INPUT_MAX);
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(&in, piece, n);
    fclose(f);
    LLVMFuzzerTestOneInput((const uint8_t *)(in.p ? in.p : ""), in.n);
    buf_done(&in);
    ran++;
}

static void
run_path(const char *path, unsigned depth)
{
    struct dirent **names = NULL;
    struct stat st;
    int n;

    if (stat(path, &st) < 0) {
        fprintf(stderr, "%s: not there\n", path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    n = depth < 16 ? scandir(path, &names, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        char inner[4096];

        if (names[i]->d_name[0] != '.') {
            str_fmt(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
            run_path(inner, depth + 1);
        }
        free(names[i]);
    }
    free(names);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run_path(argv[i], 0);
    printf("%lu inputs survived\n", ran);
    return 0;
}
