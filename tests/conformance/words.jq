# Replaces, in every text and key, the directory of the case and the name of its project by words.
def words:
  split($dir) | join("<DIR>") | split($dir | sub("/[^/]*$"; "")) | join("<CASES>") | split($project) | join("<PROJECT>");
def words_everywhere:
  if type == "object" then with_entries(.key |= words | .value |= words_everywhere)
  elif type == "array" then map(words_everywhere)
  elif type == "string" then words
  else . end;
words_everywhere
