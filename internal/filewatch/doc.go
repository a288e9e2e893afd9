// Package filewatch tells when open files change: by inotify where there is some, by looking where there is none.
package filewatch
