/*
 * import/import.h - settings of other mail servers read, and written down as ours.
 *
 * `gapura import postfix DIR [-o FILE]`. A pure reader: it changes nothing of the other server,
 * asks nobody, and never prints a password. Called by roles/main.c; argv[0] is "import".
 */
#ifndef GAPURA_IMPORT_IMPORT_H
#define GAPURA_IMPORT_IMPORT_H

/* Exit status: 0 written, 1 something could not be read or written, 2 wrong usage. */
int import_main(int argc, char **argv);

#endif
