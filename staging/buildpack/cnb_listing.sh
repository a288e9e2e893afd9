# Writes what matters of directories of layers: for each name a record "INDEX/KIND/COPY/NAME", ended by NUL. INDEX counts the
# directories, KIND has d for a directory, f for a file and l for a link to one. COPY is not empty where the file was copied into
# the directory of that name in TEXTS, under its base name.
# Arguments: TEXTS DIR...
texts=$1
shift
rm -rf "$texts" && mkdir -p "$texts" || exit 1
trap '' XFSZ
ulimit -f 2048 # blocks of 512 bytes that a copy may have
index=0
files=0
copy=0

# record COPY NAME
record() {
	kind=
	[ -d "$2" ] && kind=d
	[ -f "$2" ] && kind=f
	[ -L "$2" ] && kind=l$kind
	printf '%s/%s/%s/%s\0' "$index" "$kind" "$1" "$2"
}

# names PATTERN...: records those that exist.
names() {
	for name; do
		if [ -e "$name" ] || [ -L "$name" ]; then
			record '' "$name"
		fi
	done
}

# contents PATTERN...: records and copies those that are files, a hundred at once.
contents() {
	copy=$((copy + 1))
	mkdir "$texts/$copy" || exit 1
	fresh=yes
	for name; do # the list is fixed now, and the arguments are free for what is to be copied
		[ "$fresh" ] && set -- && fresh=
		[ -f "$name" ] && set -- "$@" "$name"
		[ $# -lt 100 ] || { copies "$@" && set --; }
	done
	[ "$fresh" ] || copies "$@"
}

# copies FILE...
copies() {
	[ $# -gt 0 ] || return 0
	files=$((files + $#))
	if [ $files -gt 2000 ]; then
		echo 'more than 2000 files of environment and metadata' >&2
		exit 1
	fi
	cp -L -- "$@" "$texts/$copy" || exit 1
	for file; do
		record $copy "$file"
	done
}

# layer NAME
layer() {
	names "$1/bin" "$1/lib" "$1/include" "$1/pkgconfig"
	for dir in "$1"/env "$1"/env.build "$1"/env.launch "$1"/env.launch/*/ "$1"/env.launch/.[!.]*/; do
		names "$dir"/* "$dir"/.[!.]* "$dir"/..?*
		contents "$dir"/* "$dir"/.[!.]* "$dir"/..?*
	done
	for dir in "$1"/exec.d "$1"/profile.d "$1"/exec.d/*/ "$1"/profile.d/*/ "$1"/exec.d/.[!.]*/ "$1"/profile.d/.[!.]*/; do
		names "$dir"/* "$dir"/.[!.]* "$dir"/..?*
	done
}

for top; do
	if cd "$top" 2>/dev/null; then
		names * .[!.]* ..?*
		contents *.toml .*.toml
		for dir in * .[!.]* ..?*; do
			case $dir in
			*.ignore) ;;
			*) [ -d "$dir" ] && [ ! -L "$dir" ] && layer "$dir" ;;
			esac
		done
	fi
	index=$((index + 1))
done
exit 0
