#include "go_asm.h"
#include "textflag.h"

// The supervisor, see doc.go and layout.go. It is no part of this program: its bytes are copied into a program of their
// own (program.go). It calls nothing and refers to nothing but its own memory.
//
// R15 is its memory, R14 not 0 once it is to end, R12 the list of system calls, R13 the pid in question.

TEXT supervisor<>(SB), NOSPLIT|NOFRAME, $0
	// kind "end" signals every process that it can see: it must be alone with its container.
	MOVL $const_sysGetpid, AX
	SYSCALL
	CMPL AX, $1
	JNE  refuse
	MOVQ $const_memoryAddr, R15
	LEAQ memory_first(R15), R12
	XORL R14, R14

	// Carry out a list: first that of the beginning; in a child, that of the request.
perform:
	MOVQ call_number(R12), AX
	TESTQ AX, AX
	JLT  jump
	MOVQ (call_args+0)(R12), DI
	MOVQ (call_args+8)(R12), SI
	MOVQ (call_args+16)(R12), DX
	MOVQ (call_args+24)(R12), R10
	MOVQ (call_args+32)(R12), R8
	MOVQ (call_args+40)(R12), R9
	SYSCALL
	TESTQ AX, AX
	JGE  performed
	MOVQ call_mark(R12), BX
	TESTQ BX, BX
	JGE  fail
performed:
	ADDQ $call__size, R12
	JMP  perform
jump:
	MOVQ (call_args+0)(R12), R12
	TESTQ R12, R12
	JNE  perform

	// Wait for a death or a message, and take note that there was a death.
wait:
	LEAQ memory_polls(R15), DI
	MOVL $2, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $const_sysPpoll, AX
	SYSCALL
	MOVL $const_deathsFD, DI
	LEAQ memory_scratch(R15), SI
	MOVL $const_scratchBytes, DX
	MOVL $const_sysRead, AX
	SYSCALL

	// Collect a child that has ended.
reap:
	MOVQ $-1, DI
	LEAQ (memory_status+status_wait)(R15), SI
	MOVL $const_waitNoHang, DX
	XORL R10, R10
	MOVL $const_sysWait4, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  receive
	JLT  childless
	MOVQ AX, R13
	LEAQ memory_table(R15), BX
	MOVL $const_MaxProcesses, CX
findEnded:
	CMPL entry_pid(BX), R13
	JEQ  ended
	ADDQ $entry__size, BX
	DECL CX
	JNE  findEnded
	JMP  reap // an orphan, of which nobody asks
ended:
	MOVL $0, entry_pid(BX)
	MOVL $const_stateEnded, (memory_status+status_state)(R15)
	MOVL entry_id(BX), R10
	MOVL $const_statusFD, DI
	LEAQ memory_status(R15), SI
	MOVL $status__size, DX
	IMULQ $status__size, R10
	MOVL $const_sysPwrite, AX
	SYSCALL
	JMP  reap

childless:
	TESTQ R14, R14
	JNE  exit

	// Take a message.
receive:
	MOVQ $const_controlBytes, (memory_header+msghdr_controlLen)(R15)
	MOVL $const_socketFD, DI
	LEAQ memory_header(R15), SI
	MOVL $const_recvFlags, DX
	MOVL $const_sysRecvmsg, AX
	SYSCALL
	TESTQ AX, AX
	JLE  wait
	MOVL (memory_message+message_kind)(R15), AX
	CMPL AX, $const_kindStart
	JEQ  start
	CMPL AX, $const_kindSignal
	JEQ  signal
	CMPL AX, $const_kindEnd
	JNE  reap

	// kill(-1, signal): every process of the container but this one
	MOVL $1, R14
	MOVQ $-1, DI
	JMP  kill

	// kill(-pid, signal): the process group of one that is awaited
signal:
	LEAQ memory_table(R15), BX
	MOVL $const_MaxProcesses, CX
	MOVL (memory_message+message_id)(R15), R13
findID:
	MOVL entry_pid(BX), DI
	TESTL DI, DI
	JEQ  nextID
	CMPL entry_id(BX), R13
	JEQ  found
nextID:
	ADDQ $entry__size, BX
	DECL CX
	JNE  findID
	JMP  reap
found:
	NEGQ DI
kill:
	MOVL (memory_message+message_signal)(R15), SI
	MOVL $const_sysKill, AX
	SYSCALL
	JMP  reap

	// Start a process, in the first free entry.
start:
	MOVL $0, (memory_report+report_what)(R15)
	LEAQ memory_table(R15), BX
	MOVL $const_MaxProcesses, CX
	MOVQ $-const_errAgain, AX
findFree:
	CMPL entry_pid(BX), $0
	JEQ  fork
	ADDQ $entry__size, BX
	DECL CX
	JNE  findFree
	JMP  forked
fork:
	MOVL $const_sigChild, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $const_sysClone, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  child
	JLT  forked
	MOVL AX, entry_pid(BX)
	MOVL AX, (memory_report+report_what)(R15)
	MOVL (memory_message+message_id)(R15), R10
	MOVL R10, entry_id(BX)
	// This is written before the report ends: whoever was told that it runs finds it in the file.
	MOVL $const_stateStarted, (memory_status+status_state)(R15)
	MOVL $0, (memory_status+status_wait)(R15)
	MOVL $const_statusFD, DI
	LEAQ memory_status(R15), SI
	MOVL $status__size, DX
	IMULQ $status__size, R10
	MOVL $const_sysPwrite, AX
	SYSCALL
	MOVL $1, AX
forked:
	MOVL AX, (memory_report+report_code)(R15)
	MOVL $const_reportFD, DI
	LEAQ memory_report(R15), SI
	MOVL $report__size, DX
	MOVL $const_sysWrite, AX
	SYSCALL
	MOVL $const_requestFD, BX
closing:
	MOVL BX, DI
	MOVL $const_sysClose, AX
	SYSCALL
	INCL BX
	CMPL BX, $const_passedEnd
	JLT  closing
	JMP  reap

	// The list of a child begins by mapping that of the request, which it then jumps to.
child:
	LEAQ memory_child(R15), R12
	JMP  perform

	// A call of a list failed: report that. In process 1 there is nobody to report to.
fail:
	MOVL AX, (memory_report+report_code)(R15)
	MOVL BX, (memory_report+report_what)(R15)
	MOVL $const_reportFD, DI
	LEAQ memory_report(R15), SI
	MOVL $report__size, DX
	MOVL $const_sysWrite, AX
	SYSCALL
refuse:
	MOVL $const_exitRefused, DI
	JMP  leave
exit:
	XORL DI, DI
leave:
	MOVL $const_sysExitGroup, AX
	SYSCALL
	INT  $3

TEXT supervisorEnd<>(SB), NOSPLIT|NOFRAME, $0
	INT $3

// func code() (start, end unsafe.Pointer)
TEXT ·code(SB), NOSPLIT, $0-16
	LEAQ supervisor<>(SB), AX
	MOVQ AX, start+0(FP)
	LEAQ supervisorEnd<>(SB), AX
	MOVQ AX, end+8(FP)
	RET
