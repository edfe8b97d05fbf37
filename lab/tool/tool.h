/*
 * labtool: the one program the emulated hosts and guests need beside busybox.
 *
 * It is static, so that it runs in an initramfs without libraries, and does what shell cannot:
 * exchange clocks over UDP, record a probe's round trips, speak QMP, and mount NFSv4. Each
 * command is one file; each gets its own argument vector (argv[0] is the command's name),
 * prints to stdout and stderr and returns the exit status of the process.
 */
#ifndef LAB_TOOL_H
#define LAB_TOOL_H

int cmd_clock(int argc, char **argv);
int cmd_echo(int argc, char **argv);
int cmd_mount_nfs(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_qmp(int argc, char **argv);
int cmd_tsc(int argc, char **argv);

#endif
