#include "textflag.h"

// The supervisor, see supervisor.go: what it does, and what its descriptors are. It is no part of this program: its bytes
// are copied into a program of their own. It stands alone, so it calls nothing and refers to nothing.

#define sys_fcntl 25
#define sys_close 57
#define sys_read 63
#define sys_write 64
#define sys_exit_group 94
#define sys_waitid 95
#define sys_clock_gettime 113
#define sys_rt_sigprocmask 135
#define sys_setsid 157
#define sys_clone 220
#define sys_execve 221
#define sys_wait4 260
#define sys_close_range 436

TEXT supervisor<>(SB), NOSPLIT|NOFRAME, $0
	// The kernel leaves argc, argv, 0, envp, 0 on the stack.
	MOVD RSP, R19
	SUB  $512, RSP
	MOVD RSP, R20

	// Close what we were given by accident: close_range(first gap, all, 0). Kernels before 5.9 leave it open.
	MOVD $6, R22
gap:
	ADD  $1, R22
	MOVD R22, R0
	MOVD $1, R1 // F_GETFD
	MOVD $sys_fcntl, R8
	SVC
	CMP  $0, R0
	BGE  gap
	MOVD R22, R0
	MOVD $0xffffffff, R1
	MOVD $0, R2
	MOVD $sys_close_range, R8
	SVC

	// R21 = clone(SIGCHLD, 0, 0, 0, 0), which is fork
	MOVD $17, R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $sys_clone, R8
	SVC
	MOVD R0, R21
	CMP  $0, R0
	BEQ  child
	BLT  failed

	// rt_sigprocmask(SIG_SETMASK, all, nil, 8): nothing but KILL ends us
	MOVD $-1, R0
	MOVD R0, 0(R20)
	MOVD $2, R0
	MOVD R20, R1
	MOVD $0, R2
	MOVD $8, R3
	MOVD $sys_rt_sigprocmask, R8
	SVC

	// Wipe arguments and environment, which are in one piece, from argv[1] on: from R1 to the end of the string at R2.
	MOVD 16(R19), R1
	MOVD R1, R2
	MOVD 0(R19), R3
	ADD  $16, R19, R4
	ADD  R3<<3, R4 // envp
last:
	MOVD 0(R4), R0
	ADD  $8, R4
	CMP  $0, R0
	BEQ  wipe
	MOVD R0, R2
	B    last
wipe:
	MOVBU 0(R1), R0
	MOVB  ZR, 0(R1)
	ADD   $1, R1
	CMP   R2, R1
	BLS   wipe
	CMP   $0, R0
	BNE   wipe

	// write(report, &pid, 4)
	MOVW R21, 0(R20)
	MOVD $5, R0
	MOVD R20, R1
	MOVD $4, R2
	MOVD $sys_write, R8
	SVC

	// close all below 7 but the status file
	MOVD $0, R22
closing:
	CMP  $4, R22
	BEQ  next
	MOVD R22, R0
	MOVD $sys_close, R8
	SVC
next:
	ADD  $1, R22
	CMP  $7, R22
	BLT  closing

	// waitid(P_PID, pid, nil, WEXITED|WNOWAIT, nil), again if interrupted
wait:
	MOVD $1, R0
	MOVD R21, R1
	MOVD $0, R2
	MOVD $0x01000004, R3
	MOVD $0, R4
	MOVD $sys_waitid, R8
	SVC
	CMN  $4, R0
	BEQ  wait

	// clock_gettime(CLOCK_BOOTTIME, end.at), while the pid is still taken
	MOVD $7, R0
	MOVD R20, R1
	MOVD $sys_clock_gettime, R8
	SVC

	// wait4(pid, &end.status, 0, &end.rusage)
	MOVD ZR, 16(R20)
	MOVD R21, R0
	ADD  $16, R20, R1
	MOVD $0, R2
	ADD  $24, R20, R3
	MOVD $sys_wait4, R8
	SVC
	CMP  R21, R0
	BNE  exit

	// write(status, end, 56)
	MOVD $4, R0
	MOVD R20, R1
	MOVD $56, R2
	MOVD $sys_write, R8
	SVC
exit:
	MOVD $0, R0
	MOVD $sys_exit_group, R8
	SVC

child:
	MOVD $sys_setsid, R8
	SVC

	// read(gate, ., 1)
	MOVD $6, R0
	MOVD R20, R1
	MOVD $1, R2
	MOVD $sys_read, R8
	SVC
	CMP  $1, R0
	BNE  refused

	// fcntl(., F_SETFD, FD_CLOEXEC) from 3 on until there is none
	MOVD $3, R22
cloexec:
	MOVD R22, R0
	MOVD $2, R1
	MOVD $1, R2
	MOVD $sys_fcntl, R8
	SVC
	ADD  $1, R22
	CMP  $0, R0
	BEQ  cloexec

	// execve(argv[1], argv+2, envp)
	MOVD 16(R19), R0
	ADD  $24, R19, R1
	MOVD 0(R19), R3
	ADD  $16, R19, R2
	ADD  R3<<3, R2
	MOVD $sys_execve, R8
	SVC

	// write(report, &error, 4), negative as the kernel gives it
failed:
	MOVW R0, 0(R20)
	MOVD $5, R0
	MOVD R20, R1
	MOVD $4, R2
	MOVD $sys_write, R8
	SVC
refused:
	MOVD $127, R0
	MOVD $sys_exit_group, R8
	SVC
	BRK

TEXT supervisorEnd<>(SB), NOSPLIT|NOFRAME, $0
	BRK

// func supervisorText() (start, end uintptr)
TEXT ·supervisorText(SB), NOSPLIT, $0-16
	MOVD $supervisor<>(SB), R0
	MOVD R0, start+0(FP)
	MOVD $supervisorEnd<>(SB), R0
	MOVD R0, end+8(FP)
	RET
