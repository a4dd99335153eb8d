/*
 * lab/lab.h - `gapura lab [DIR]`: a gateway, and around it a world that ends at this machine.
 *
 * One message's way: banner.c shows a line to paste -> the gateway (a child, `gapura run`) takes
 * it -> its courier asks the zone in DIR and connects to a provider (provider.c), which answers
 * by its law (law.c) -> the gateway's event is read (follow.c) and told (tell.c). traffic.c sends
 * sample mail the same way. Nothing of the gateway is special but its settings: DNS is a file,
 * and delivery.only_to permits loopback addresses alone.
 */
#ifndef GAPURA_LAB_LAB_H
#define GAPURA_LAB_LAB_H

#include "core/err.h"

/* Reads the gateway's settings, which are not this floor's business. */
struct lab_links {
    int (*paths)(const char *conf_file, char *run_dir, char *events, size_t cap, struct why *why);
    /* Gives up all rights but to write below `mail` and to read below `events`. */
    int (*confine)(const char *mail, const char *events, struct why *why);
};
/* argv[1] is "lab". Until Ctrl-C; returns the exit status. */
int lab_main(int argc, char **argv, const struct lab_links *);

#endif
