"""One module per command, one public function in each; its docstring is the help that users read."""
