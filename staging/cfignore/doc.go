// Package cfignore tells which files of an app's source stay behind when it is pushed: those that the cf CLI leaves out of
// every app (.cfignore, .gitignore, .git, .hg, .svn, _darcs, .DS_Store, and manifest.yml at the top), and those that the
// file .cfignore at the top of the source names.
//
// The lines of .cfignore are patterns as in .gitignore:
//
//	# a comment
//	*.log           files and directories of this name anywhere
//	/tmp            this one at the top only; a slash in the middle, as in a/b, does the same
//	node_modules/   directories of this name only
//	docs/**/*.pdf   ** stands for any number of directories
//	!keep.log       what is taken all the same
//
// The last line counts that fits a path or a directory above it. So a line with "!" also brings back what stands in a
// directory that an earlier line leaves out, other than with git and as with the cf CLI.
//
// It is for whoever hands a source over: a stager takes what it is given, and an archive has been made by somebody who chose.
package cfignore
