#!/bin/sh
# Makes warden.pb.go from warden.proto. It needs protoc (Debian: apt-get install protobuf-compiler); the plugin is that of
# the module's own version of google.golang.org/protobuf.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
# By its full path, as the names of files are global among all messages of a program.
cd ../../..
protoc --plugin="$tmp/protoc-gen-go" --go_out=. --go_opt=paths=source_relative container/warden/protocol/warden.proto
