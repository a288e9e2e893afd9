package cfignore_test

import (
	"fmt"

	"github.com/deakit/deakit/staging/cfignore"
)

func Example() {
	rules, err := cfignore.Parse("*.log\n!keep.log\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"app.py", "x.log", "keep.log", ".git/HEAD"} {
		excluded, _ := rules.Exclude(name, false)
		fmt.Println(name, excluded)
	}
	// Output:
	// app.py false
	// x.log true
	// keep.log false
	// .git/HEAD true
}
