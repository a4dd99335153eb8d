/*
 * roles/report_tool.h - `gapura report read FILE`: what a report says, without a running program.
 */
#ifndef GAPURA_ROLES_REPORT_TOOL_H
#define GAPURA_ROLES_REPORT_TOOL_H

int report_tool_main(int argc, char **argv); /* argv[1] is "report" */

#endif
