package directory

// wishes are what a query says of how a file or directory is wanted. What it may say as well and the Server does not know is
// passed over, as dea_ng does.
type wishes struct {
	tail    bool    // "tail" is there, with any value
	follow  bool    // "tail_follow" is there: go on with the file that takes the place of the present one
	offset  *string // of the first "tail_offset"
	archive *string // of the first "archive"
}

func parseWishes(rawQuery string) (want wishes) {
	for p := range params(rawQuery) {
		first := func(field **string) {
			if *field == nil {
				value := p.value()
				*field = &value
			}
		}
		switch p.name {
		case "tail":
			want.tail = true
		case "tail_follow":
			want.follow = true
		case "tail_offset":
			first(&want.offset)
		case "archive":
			first(&want.archive)
		}
	}
	return want
}

// check refuses what makes no sense of parameters that dea_ng does not have: nobody can rely on their being passed over.
func (want *wishes) check(dir bool) error {
	if want.archive != nil {
		if !dir {
			return errArchived
		}
		if archiveTypes[*want.archive] == "" {
			return errArchive
		}
	}
	if want.follow && !want.tail {
		return errTailFollow
	}
	return nil
}
