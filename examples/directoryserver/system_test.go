package main

var builtIn string
