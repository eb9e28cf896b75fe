"""Settings tried one after the other on one split, judged on its validation part; the test part is never read."""
