/*
 * tests/support/spool_golden.c - writes the golden segment of the current version to a file.
 *
 *     build/tests/spool_golden tests/golden/spool-v1.seg
 *     build/tests/spool_golden tests/golden/spool-v1-tags.seg
 *
 * Run once for each version of the format, by a person; the result is committed and never changed.
 */
#include "spool_golden.h"

int
main(int argc, char **argv)
{
    static uint8_t file[GOLDEN_UNITS * SPOOL_UNIT];
    FILE *f = argc == 2 ? fopen(argv[1], "wbx") : NULL;

    if (!f) {
        fprintf(stderr, "usage: spool_golden FILE (which must not exist)\n");
        return 2;
    }
    if (strstr(argv[1], "tags"))
        golden_make_tagged(file);
    else
        golden_make(file);
    if (fwrite(file, 1, sizeof file, f) != sizeof file || fclose(f) != 0) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
