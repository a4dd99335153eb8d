/*
 * authtool/authtool.h - `gapura auth verify|sign|spf`: sender authentication of a file, by hand.
 *
 * A verb's way: words and options by the table of ctl/verbs.h, the message out of a file (input.h),
 * the evaluators of auth/ over answers out of a zone file or from DNS (source.h), then text for
 * people or JSON. Speaks to no role and needs no settings. Called by roles/main.c.
 */
#ifndef GAPURA_AUTHTOOL_AUTHTOOL_H
#define GAPURA_AUTHTOOL_AUTHTOOL_H

/* argv[0] is the program, argv[1] "auth". The exit status: 0 authenticated or signed, 1 not, 2
 * wrong usage or an input that cannot be read, 3 DNS did not answer. */
int authtool_main(int argc, char **argv);

#endif
