/*
 * courier/replies_tool.h - `gapura replies`: what a reply means, and by which pattern.
 */
#ifndef GAPURA_COURIER_REPLIES_TOOL_H
#define GAPURA_COURIER_REPLIES_TOOL_H

int replies_main(int argc, char **argv); /* its exit status */

#endif
