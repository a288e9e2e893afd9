#include "go_asm.h"
#include "textflag.h"

// The supervisor, see doc.go and layout.go. It is no part of this program: its bytes are copied into a program of their
// own (program.go). It calls nothing and refers to nothing but its own memory.
//
// R19 is its memory, R20 not 0 once it is to end, R21 the list of system calls, R22 the pid or the number in question,
// R23 and R24 walk through the table.

TEXT supervisor<>(SB), NOSPLIT|NOFRAME, $0
	// kind "end" signals every process that it can see: it must be alone with its container.
	MOVD $const_sysGetpid, R8
	SVC
	CMPW $1, R0
	BNE  refuse
	MOVD $const_memoryAddr, R19
	ADD  $memory_first, R19, R21
	MOVD $0, R20

	// Carry out a list: first that of the beginning; in a child, that of the request.
perform:
	MOVD call_number(R21), R8
	CMP  $0, R8
	BLT  jump
	MOVD (call_args+0)(R21), R0
	MOVD (call_args+8)(R21), R1
	MOVD (call_args+16)(R21), R2
	MOVD (call_args+24)(R21), R3
	MOVD (call_args+32)(R21), R4
	MOVD (call_args+40)(R21), R5
	SVC
	CMP  $0, R0
	BGE  performed
	MOVD call_mark(R21), R23
	CMP  $0, R23
	BGE  fail
performed:
	ADD $call__size, R21
	B   perform
jump:
	MOVD (call_args+0)(R21), R21
	CBNZ R21, perform

	// Wait for a death or a message, and take note that there was a death.
wait:
	ADD  $memory_polls, R19, R0
	MOVD $2, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $const_sysPpoll, R8
	SVC
	MOVD $const_deathsFD, R0
	ADD  $memory_scratch, R19, R1
	MOVD $const_scratchBytes, R2
	MOVD $const_sysRead, R8
	SVC

	// Collect a child that has ended.
reap:
	MOVD $-1, R0
	ADD  $(memory_status+status_wait), R19, R1
	MOVD $const_waitNoHang, R2
	MOVD $0, R3
	MOVD $const_sysWait4, R8
	SVC
	CMP  $0, R0
	BEQ  receive
	BLT  childless
	MOVD R0, R22
	ADD  $memory_table, R19, R23
	MOVD $const_MaxProcesses, R24
findEnded:
	MOVW entry_pid(R23), R1
	CMPW R22, R1
	BEQ  ended
	ADD  $entry__size, R23
	SUB  $1, R24
	CBNZ R24, findEnded
	B    reap // an orphan, of which nobody asks
ended:
	MOVW ZR, entry_pid(R23)
	MOVD $const_stateEnded, R1
	MOVW R1, (memory_status+status_state)(R19)
	MOVWU entry_id(R23), R3
	MOVD $status__size, R2
	MUL  R2, R3
	MOVD $const_statusFD, R0
	ADD  $memory_status, R19, R1
	MOVD $const_sysPwrite, R8
	SVC
	B    reap

childless:
	CBNZ R20, exit

	// Take a message.
receive:
	MOVD $const_controlBytes, R1
	MOVD R1, (memory_header+msghdr_controlLen)(R19)
	MOVD $const_socketFD, R0
	ADD  $memory_header, R19, R1
	MOVD $const_recvFlags, R2
	MOVD $const_sysRecvmsg, R8
	SVC
	CMP  $0, R0
	BLE  wait
	MOVW (memory_message+message_kind)(R19), R1
	CMPW $const_kindStart, R1
	BEQ  start
	CMPW $const_kindSignal, R1
	BEQ  signal
	CMPW $const_kindEnd, R1
	BNE  reap

	// kill(-1, signal): every process of the container but this one
	MOVD $1, R20
	MOVD $-1, R0
	B    kill

	// kill(-pid, signal): the process group of one that is awaited
signal:
	ADD  $memory_table, R19, R23
	MOVD $const_MaxProcesses, R24
	MOVWU (memory_message+message_id)(R19), R22
findID:
	MOVW entry_pid(R23), R0
	CBZW R0, nextID
	MOVWU entry_id(R23), R1
	CMP  R22, R1
	BEQ  found
nextID:
	ADD  $entry__size, R23
	SUB  $1, R24
	CBNZ R24, findID
	B    reap
found:
	NEG R0, R0
kill:
	MOVW (memory_message+message_signal)(R19), R1
	MOVD $const_sysKill, R8
	SVC
	B    reap

	// Start a process, in the first free entry.
start:
	MOVW ZR, (memory_report+report_what)(R19)
	ADD  $memory_table, R19, R23
	MOVD $const_MaxProcesses, R24
	MOVD $-const_errAgain, R0
findFree:
	MOVW entry_pid(R23), R1
	CBZW R1, fork
	ADD  $entry__size, R23
	SUB  $1, R24
	CBNZ R24, findFree
	B    forked
fork:
	MOVD $const_sigChild, R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $const_sysClone, R8
	SVC
	CMP  $0, R0
	BEQ  child
	BLT  forked
	MOVW R0, entry_pid(R23)
	MOVW R0, (memory_report+report_what)(R19)
	MOVWU (memory_message+message_id)(R19), R3
	MOVW R3, entry_id(R23)
	// This is written before the report ends: whoever was told that it runs finds it in the file.
	MOVD $const_stateStarted, R1
	MOVW R1, (memory_status+status_state)(R19)
	MOVW ZR, (memory_status+status_wait)(R19)
	MOVD $status__size, R2
	MUL  R2, R3
	MOVD $const_statusFD, R0
	ADD  $memory_status, R19, R1
	MOVD $const_sysPwrite, R8
	SVC
	MOVD $1, R0
forked:
	MOVW R0, (memory_report+report_code)(R19)
	MOVD $const_reportFD, R0
	ADD  $memory_report, R19, R1
	MOVD $report__size, R2
	MOVD $const_sysWrite, R8
	SVC
	MOVD $const_requestFD, R22
closing:
	MOVD R22, R0
	MOVD $const_sysClose, R8
	SVC
	ADD  $1, R22
	CMP  $const_passedEnd, R22
	BLT  closing
	B    reap

	// The list of a child begins by mapping that of the request, which it then jumps to.
child:
	ADD $memory_child, R19, R21
	B   perform

	// A call of a list failed: report that. In process 1 there is nobody to report to.
fail:
	MOVW R0, (memory_report+report_code)(R19)
	MOVW R23, (memory_report+report_what)(R19)
	MOVD $const_reportFD, R0
	ADD  $memory_report, R19, R1
	MOVD $report__size, R2
	MOVD $const_sysWrite, R8
	SVC
refuse:
	MOVD $const_exitRefused, R0
	B    leave
exit:
	MOVD $0, R0
leave:
	MOVD $const_sysExitGroup, R8
	SVC
	BRK

TEXT supervisorEnd<>(SB), NOSPLIT|NOFRAME, $0
	BRK

// func code() (start, end unsafe.Pointer)
TEXT ·code(SB), NOSPLIT, $0-16
	MOVD $supervisor<>(SB), R0
	MOVD R0, start+0(FP)
	MOVD $supervisorEnd<>(SB), R0
	MOVD R0, end+8(FP)
	RET
