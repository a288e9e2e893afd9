#!/bin/bash
# Starts a process of this droplet, in the environment that its buildpacks want. Staging has made this file of what they left
# behind; it needs bash and nothing else.
#
#	launch TYPE [ARGUMENT...]		a process of a buildpack
#	launch -- PROGRAM [ARGUMENT...]		any program
#	launch COMMAND				any command, for a shell that has sourced the scripts of buildpacks
#
# The status is that of the process, or 82 when it could not be started.

__seconds=60   # that a program of exec.d may take
__bytes=65536  # that it may write

__fail() {
	printf 'launch: %s\n' "$*" >&2
	exit 82
}

# Changes of one variable: NAME VALUE [DELIMITER].
__override() { export "$1=$2"; }
__default() { [[ -n ${!1} ]] || export "$1=$2"; }
__append() { export "$1=${!1:+${!1}$3}$2"; }
__prepend() { export "$1=$2${!1:+$3${!1}}"; }

# __only TYPE COMMAND...: what is for processes of one type.
__only() { [[ $__type != "$1" ]] || "${@:2}"; }

# __profile FILE: a script to be sourced by the shell of a process.
__profile() { __profiles+=("$1"); }

# __run PROGRAM: a program of exec.d, which writes variables as TOML to descriptor 3.
__run() {
	local __from __out __end __i
	exec 9>&1 {__from}< <("$1" 3>&1 1>&9 9>&- </dev/null; printf '\n%d' "$?")
	LC_ALL=C IFS= read -r -t "$__seconds" -N "$__bytes" -u "$__from" __out
	__end=$?
	exec 9>&- {__from}<&-
	((__end != 0)) || __fail "$1 wrote more than $__bytes bytes"
	((__end <= 128)) || __fail "$1 did not end within $__seconds seconds"
	[[ ${__out##*$'\n'} == 0 ]] || __fail "$1 exited with status ${__out##*$'\n'}"
	__toml "${__out%$'\n'*}" || __fail "$1 wrote no TOML of the form NAME = \"value\": ${__rest:0:60}"
	for __i in "${!__names[@]}"; do
		case ${__names[__i]} in
		[0-9]* | *-* | @RESERVED@) printf 'launch: %s sets %s, which no shell can; it is left out\n' "$1" "${__names[__i]}" >&2 ;;
		*) export "${__names[__i]}=${__values[__i]}" ;;
		esac
	done
}

# __toml TEXT: puts the keys of TEXT and their values, which are strings, into __names and __values. What follows a mistake is in
# __rest.
__toml() {
	local LC_ALL=C __name __value
	local -A __seen=()
	__rest=$1 __names=() __values=()
	while :; do
		__rest=${__rest#"${__rest%%[!$' \t\r\n']*}"}
		case $__rest in
		'') return 0 ;;
		'#'*)
			[[ $__rest == *$'\n'* ]] || return 0
			__rest=${__rest#*$'\n'}
			continue
			;;
		esac
		__name=${__rest%%[!A-Za-z0-9_-]*}
		[[ -n $__name && -z ${__seen[$__name]} ]] || return 1
		__seen[$__name]=1
		__rest=${__rest:${#__name}}
		__blanks
		[[ $__rest == =* ]] || return 1
		__rest=${__rest:1}
		__blanks
		case $__rest in
		'"""'*) __lines && __basic '"""' || return 1 ;;
		"'''"*) __lines && __literal "'''" || return 1 ;;
		'"'*) __rest=${__rest:1} && __basic '"' || return 1 ;;
		"'"*) __rest=${__rest:1} && __literal "'" || return 1 ;;
		*) return 1 ;;
		esac
		__blanks
		[[ $__rest == '' || $__rest == [$'\n#']* || $__rest == $'\r\n'* ]] || return 1
		__names+=("$__name") __values+=("$__value")
	done
}

__blanks() { __rest=${__rest#"${__rest%%[!$' \t']*}"}; }

# __lines: skips the quotes that a string of several lines begins with, and a line break behind them.
__lines() {
	__rest=${__rest:3}
	__rest=${__rest#$'\r'}
	__rest=${__rest#$'\n'}
}

# __literal END: reads a string that ends with END into __value, without escapes.
__literal() {
	[[ $__rest == *"$1"* ]] || return 1
	__value=${__rest%%"$1"*}
	__rest=${__rest:${#__value}+${#1}}
	__quotes "$1"
	[[ ${#1} == 3 || $__value != *$'\n'* ]]
}

# __quotes END: one or two quotes in front of the end of a string of several lines belong to it.
__quotes() {
	[[ ${#1} == 3 ]] || return 0
	while [[ $__rest == "${1:0:1}"* ]]; do
		__value+=${1:0:1} __rest=${__rest:1}
	done
}

# __basic END: reads a string that ends with END into __value, with escapes.
__basic() {
	local __piece __char
	__value=
	while :; do
		__piece=${__rest%%[\"\\]*}
		[[ $__piece != "$__rest" ]] || return 1
		[[ ${#1} == 3 || $__piece != *[$'\x01-\x08\n-\x1f\x7f']* ]] || return 1
		__value+=$__piece __rest=${__rest:${#__piece}}
		case $__rest in
		"$1"*)
			__rest=${__rest:${#1}}
			__quotes "$1"
			return 0
			;;
		'"'*) __value+='"' __rest=${__rest:1} ;;
		*) __escape "$1" || return 1 ;;
		esac
	done
}

__escape() {
	local __digits
	case ${__rest:1:1} in
	b) __value+=$'\b' ;;
	t) __value+=$'\t' ;;
	n) __value+=$'\n' ;;
	f) __value+=$'\f' ;;
	r) __value+=$'\r' ;;
	e) __value+=$'\e' ;;
	'"' | \\) __value+=${__rest:1:1} ;;
	x) __digits=2 ;;
	u) __digits=4 ;;
	U) __digits=8 ;;
	*)
		__rest=${__rest:1}
		[[ ${#1} == 3 && ${__rest%%[!$' \t\r\n']*} == *$'\n'* ]] || return 1
		__rest=${__rest#"${__rest%%[!$' \t\r\n']*}"}
		return 0
		;;
	esac
	if [[ -n $__digits ]]; then
		[[ ${__rest:2:__digits} =~ ^[0-9A-Fa-f]+$ && ${#BASH_REMATCH[0]} == "$__digits" ]] || return 1
		__utf8 "$((16#${BASH_REMATCH[0]}))" || return 1
		__value+=$__char
	fi
	__rest=${__rest:2+__digits}
}

# __utf8 NUMBER: puts a character into __char.
__utf8() {
	(($1 > 0 && $1 <= 0x10ffff && ($1 < 0xd800 || $1 > 0xdfff))) || return 1
	if (($1 < 0x80)); then
		printf -v __char '\\x%02x' "$1"
	elif (($1 < 0x800)); then
		printf -v __char '\\x%02x' "$((0xc0 | $1 >> 6))" "$((0x80 | $1 & 63))"
	elif (($1 < 0x10000)); then
		printf -v __char '\\x%02x' "$((0xe0 | $1 >> 12))" "$((0x80 | $1 >> 6 & 63))" "$((0x80 | $1 & 63))"
	else
		printf -v __char '\\x%02x' "$((0xf0 | $1 >> 18))" "$((0x80 | $1 >> 12 & 63))" "$((0x80 | $1 >> 6 & 63))" "$((0x80 | $1 & 63))"
	fi
	printf -v __char '%b' "$__char"
}

# What the layers of the buildpacks do to the environment.
__environment() {
	:
@ENVIRONMENT@}

# The programs that have a say in the environment.
__programs() {
	:
@PROGRAMS@}

# The scripts for processes that run in a shell.
__scripts() {
	:
@SCRIPTS@}

# __process TYPE: the process of a buildpack.
__process() {
	case $1 in
@PROCESSES@	*) return 1 ;;
	esac
}

__here=${BASH_SOURCE[0]}
[[ $__here == */* ]] || __here=./$__here
cd -P -- "${__here%/*}/../.." && __home=$PWD && cd -- "$__home/app" || __fail "there is no app beside ${__here%/*}/.."

# The droplet asks for start commands to be run through this file. Those of its own processes call it already.
[[ $# != 1 || $1 != @CALL@* ]] || set -- "${1#@CALL@}"
(($# > 0)) || __fail "say which process: launch TYPE"

__type='' __direct='' __append='' __dir=$__home/app __args=() __profiles=()
if [[ $1 == -- ]]; then
	(($# > 1)) || __fail "say which program: launch -- PROGRAM"
	__direct=1 __command=("${@:2}")
elif __process "$1"; then
	__type=$1
	if (($# > 1)); then
		[[ -n $__append ]] || __args=()
		__args+=("${@:2}")
	fi
else
	__command=("$1") __args=("${@:2}")
fi

unset CNB_LAYERS_DIR CNB_APP_DIR CNB_PROCESS_TYPE CNB_PLATFORM_API CNB_DEPRECATION_MODE
for __here in /cnb/process /cnb/lifecycle; do
	while [[ :$PATH: == *:$__here:* ]]; do
		__rest=:$PATH:
		__rest=${__rest/":$__here:"/:}
		__rest=${__rest#:}
		PATH=${__rest%:}
	done
done
__environment
__programs

shopt -s execfail
if [[ -n $__direct ]]; then
	CDPATH='' cd -- "$__dir" || __fail "there is no directory $__dir"
	exec -- "${__command[@]}" "${__args[@]}"
	__fail "cannot run ${__command[0]}"
fi

# A shell of its own sources the scripts, so that they see nothing of this one.
__scripts
[[ ! -f .profile ]] || __profile "$__home/app/.profile"
__script=''
for __here in "${__profiles[@]}"; do
	printf -v __rest 'source %q\n' "$__here"
	__script+=$__rest
done
printf -v __rest 'cd %q || exit 82\n' "$__dir"
__script+=$__rest
if ((${#__args[@]} == 0)); then
	__script+='exec bash -c "$@"'
else
	# Command and arguments are words, each expanded as in double quotes.
	__script+='exec bash -c '\''
		__words=()
		for __word in "$0" "$@"; do
			eval "__word=\"${__word//\"/\\\"}\"" || exit 82
			__words+=("$__word")
		done
		exec -- "${__words[@]}"'\'' "$@"'
fi
exec bash -c "$__script" "${BASH_SOURCE[0]}" "${__command[@]}" "${__args[@]}"
__fail "cannot run bash"
