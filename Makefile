.PHONY: demo test check benchmark

demo test check benchmark:
	python3 dev.py $@
