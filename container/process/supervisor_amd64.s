#include "textflag.h"

// The supervisor, see supervisor.go: what it does, and what its descriptors are. It is no part of this program: its bytes
// are copied into a program of their own. It stands alone, so it calls nothing and refers to nothing.

#define sys_write 1
#define sys_close 3
#define sys_rt_sigprocmask 14
#define sys_clone 56
#define sys_execve 59
#define sys_wait4 61
#define sys_fcntl 72
#define sys_setsid 112
#define sys_clock_gettime 228
#define sys_exit_group 231
#define sys_waitid 247
#define sys_close_range 436

TEXT supervisor<>(SB), NOSPLIT|NOFRAME, $0
	// The kernel leaves argc, argv, 0, envp, 0 on the stack.
	MOVQ SP, R12
	SUBQ $512, SP

	// Close what we were given by accident: close_range(first gap, all, 0). Kernels before 5.9 leave it open.
	MOVL $6, BX
gap:
	INCL BX
	MOVL BX, DI
	MOVL $1, SI // F_GETFD
	MOVL $sys_fcntl, AX
	SYSCALL
	TESTQ AX, AX
	JGE  gap
	MOVL BX, DI
	MOVL $-1, SI
	XORL DX, DX
	MOVL $sys_close_range, AX
	SYSCALL

	// R13 = clone(SIGCHLD, 0, 0, 0, 0), which is fork
	MOVL $17, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $sys_clone, AX
	SYSCALL
	MOVQ AX, R13
	TESTQ AX, AX
	JEQ  child
	JLT  failed

	// rt_sigprocmask(SIG_SETMASK, all, nil, 8): nothing but KILL ends us
	MOVQ $-1, AX
	MOVQ AX, 0(SP)
	MOVL $2, DI
	MOVQ SP, SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $sys_rt_sigprocmask, AX
	SYSCALL

	// Wipe arguments and environment, which are in one piece, from argv[1] on: from SI to the end of the string at DI.
	MOVQ 16(R12), SI
	MOVQ SI, DI
	MOVQ 0(R12), CX
	LEAQ 16(R12)(CX*8), BX // envp
last:
	MOVQ 0(BX), AX
	ADDQ $8, BX
	TESTQ AX, AX
	JEQ  wipe
	MOVQ AX, DI
	JMP  last
wipe:
	MOVB 0(SI), AX
	MOVB $0, 0(SI)
	INCQ SI
	CMPQ SI, DI
	JLS  wipe
	TESTB AX, AX
	JNE  wipe

	// write(report, &pid, 4)
	MOVL R13, 0(SP)
	MOVL $5, DI
	MOVQ SP, SI
	MOVL $4, DX
	MOVL $sys_write, AX
	SYSCALL

	// close all below 7 but the status file
	XORL BX, BX
closing:
	CMPL BX, $4
	JEQ  next
	MOVL BX, DI
	MOVL $sys_close, AX
	SYSCALL
next:
	INCL BX
	CMPL BX, $7
	JLT  closing

	// waitid(P_PID, pid, nil, WEXITED|WNOWAIT, nil), again if interrupted
wait:
	MOVL $1, DI
	MOVQ R13, SI
	XORL DX, DX
	MOVL $0x01000004, R10
	XORL R8, R8
	MOVL $sys_waitid, AX
	SYSCALL
	CMPQ AX, $-4
	JEQ  wait

	// clock_gettime(CLOCK_BOOTTIME, end.at), while the pid is still taken
	MOVL $7, DI
	MOVQ SP, SI
	MOVL $sys_clock_gettime, AX
	SYSCALL

	// wait4(pid, &end.status, 0, &end.rusage)
	MOVQ $0, 16(SP)
	MOVQ R13, DI
	LEAQ 16(SP), SI
	XORL DX, DX
	LEAQ 24(SP), R10
	MOVL $sys_wait4, AX
	SYSCALL
	CMPQ AX, R13
	JNE  exit

	// write(status, end, 56)
	MOVL $4, DI
	MOVQ SP, SI
	MOVL $56, DX
	MOVL $sys_write, AX
	SYSCALL
exit:
	XORL DI, DI
	MOVL $sys_exit_group, AX
	SYSCALL

child:
	MOVL $sys_setsid, AX
	SYSCALL

	// read(gate, ., 1), which is number 0
	MOVL $6, DI
	MOVQ SP, SI
	MOVL $1, DX
	XORL AX, AX
	SYSCALL
	CMPQ AX, $1
	JNE  refused

	// fcntl(., F_SETFD, FD_CLOEXEC) from 3 on until there is none
	MOVL $3, BX
cloexec:
	MOVL BX, DI
	MOVL $2, SI
	MOVL $1, DX
	MOVL $sys_fcntl, AX
	SYSCALL
	INCL BX
	TESTQ AX, AX
	JEQ  cloexec

	// execve(argv[1], argv+2, envp)
	MOVQ 16(R12), DI
	LEAQ 24(R12), SI
	MOVQ 0(R12), CX
	LEAQ 16(R12)(CX*8), DX
	MOVL $sys_execve, AX
	SYSCALL

	// write(report, &error, 4), negative as the kernel gives it
failed:
	MOVL AX, 0(SP)
	MOVL $5, DI
	MOVQ SP, SI
	MOVL $4, DX
	MOVL $sys_write, AX
	SYSCALL
refused:
	MOVL $127, DI
	MOVL $sys_exit_group, AX
	SYSCALL
	INT  $3

TEXT supervisorEnd<>(SB), NOSPLIT|NOFRAME, $0
	INT $3

// func supervisorText() (start, end uintptr)
TEXT ·supervisorText(SB), NOSPLIT, $0-16
	LEAQ supervisor<>(SB), AX
	MOVQ AX, start+0(FP)
	LEAQ supervisorEnd<>(SB), AX
	MOVQ AX, end+8(FP)
	RET
