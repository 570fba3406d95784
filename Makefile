.PHONY: demo test check simulate benchmark

demo test check simulate benchmark:
	python3 dev.py $@
