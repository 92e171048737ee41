# What is run, and the rules of the tree.
undine_script_test(lint_layers lint/layers.py LABELS fast once)
undine_script_test(lint_layers_test lint/layers_test.py LABELS fast once)
undine_script_test(lint_scripts lint/scripts.sh LABELS fast once)
undine_script_test(kafka_dev integration/kafka_dev.sh LABELS broker once slow)
