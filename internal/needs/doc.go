// Package needs tells why a test cannot run here: for want of a program, of root, or of something else.
//
// Such a test is skipped with the reason on an ordinary machine. With DEAKIT_REQUIRE=all in the environment, as where
// everything is installed on purpose, it fails instead, so that no test can go missing there unseen.
package needs
